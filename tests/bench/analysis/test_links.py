"""Links: figures by lanes and clocks, and the least times of collectives by hand."""

import re
from pathlib import Path

import pytest

from alignmeter.analysis.chips import peak, peaks
from alignmeter.analysis.links import Link, Wires, bus_factor, links, links_markdown, wires_of
from alignmeter.analysis.roofline import Ceilings, bound_of, ceilings_of
from alignmeter.records.demand import Demand

ROOT = Path(__file__).parents[3]
GB = 10**9
NAMES = ["NVLink-3", "NVLink-4", "NVLink-5", "Infinity-Fabric-3", "Infinity-Fabric-4", "PCIe-4",
         "PCIe-5", "400G"]  # fmt: skip


def row(bytes_per_s, **fields):
    return Link(bytes_per_s=bytes_per_s, source="https://a.b", read="2026-11-30", note="", **fields)


def wires(world_size, link, *, linked=4, network=None):
    network = row(10, network=True) if network is None else network
    return Wires(world_size=world_size, linked=linked, link=link, network=network)


def test_links_say_where_and_when_and_are_named_by_chips():
    assert list(links()) == NAMES
    for link in links().values():
        assert re.match(r"https://\S+\.\S+", link.source)
        assert link.note.endswith(".")
    named = {chip.link for chip in peaks().values()} - {None}
    assert named == {name for name, link in links().items() if not link.network}
    assert all((chip.link is None) == (chip.linked == 1) for chip in peaks().values())
    assert (ROOT / "docs" / "links.md").read_text(encoding="utf-8") == links_markdown()


@pytest.mark.parametrize(
    ("name", "ports", "gigabits"),
    [
        ("NVLink-3", 12, 4 * 50),
        ("NVLink-4", 18, 2 * 100),
        ("NVLink-5", 18, 2 * 200),
        ("Infinity-Fabric-3", 7, 16 * 32),
        ("Infinity-Fabric-4", 7, 16 * 38.4),
        ("PCIe-4", 1, 16 * 16 * 128 / 130),
        ("PCIe-5", 1, 16 * 32 * 128 / 130),
        ("400G", 1, 400),
    ],
)
def test_a_link_is_ports_times_lanes_times_bits_each_way(name, ports, gigabits):
    """An independent count: a figure of both ways together is off by two."""
    found = links()[name]
    assert found.bytes_per_s == pytest.approx(ports * gigabits * GB / 8, rel=1e-9)
    if found.peer_bytes_per_s is not None:
        assert found.peer_bytes_per_s * ports == found.bytes_per_s


def test_each_device_sends_what_nccl_tests_says():
    found = [bus_factor(kind, 4) for kind in ("all_gather", "reduce_scatter", "all_reduce")]
    assert found == [0.75, 0.75, 1.5]


def test_within_a_box_a_device_gets_what_it_lacks():
    """400 bytes over 4: each lacks 300, which at 100 a second are 3 s, and twice that reduced."""
    found = wires(4, row(100))
    assert found.seconds({"all_gather": 400}) == 3.0
    assert found.seconds({"reduce_scatter": 400, "all_gather": 400}) == 6.0
    assert found.seconds({"all_reduce": 400}) == 6.0
    assert wires(4, row(100, reduces=True)).seconds({"all_reduce": 400}) == 3.0


def test_two_devices_of_a_mesh_have_one_link():
    mesh = row(300, peer_bytes_per_s=100)
    assert wires(2, mesh).seconds({"all_gather": 400}) == 2.0
    assert wires(4, mesh).seconds({"all_gather": 400}) == 1.0


def test_between_boxes_the_slower_of_device_and_box_counts():
    """Boxes of 4 over 8: a box lacks half of 800, which four ports of 10 take 10 s for; a device
    lacks 700, which port and link take 700 / (10 + link) s for.
    """
    assert wires(8, row(690)).seconds({"all_gather": 800}) == 10.0
    assert wires(8, row(25)).seconds({"all_gather": 800}) == 20.0


def test_a_chip_without_a_link_and_a_device_alone_have_no_wires():
    assert wires_of(peak("H100-PCIe"), 8) is None
    assert wires_of(peak("H100-SXM"), 1) is None
    found = wires_of(peak("GB200"), 72)
    assert (found.linked, found.link) == (72, links()["NVLink-5"])


def test_a_phase_of_several_devices_may_be_bound_by_its_links():
    """45 GB gathered over 8 H100: seven eighths at 450 GB/s are 87.5 ms."""
    asked = Demand(flops=0, moved_bytes=10**9, call_bytes=10**9, sent_bytes={"all_gather": 45 * GB})
    found = bound_of({"forward": asked}, ceilings_of(peak("H100-SXM"), 8)).phases["forward"]
    assert (found.limit, found.seconds) == ("links", pytest.approx(0.0875))
    alone = bound_of({"forward": asked}, ceilings_of(peak("H100-SXM"))).phases["forward"]
    assert alone.limit == "bandwidth"
    between = Ceilings(flops_per_s=1.0, bytes_per_s={0: GB}, between=wires(2, row(10**12)))
    assert bound_of({"forward": asked}, between).phases["forward"].limit == "bandwidth"
