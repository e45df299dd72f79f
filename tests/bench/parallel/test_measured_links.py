"""`alignmeter links`: two processes measured, the table, and what is refused."""

from datetime import UTC, datetime

import pytest
from rank_pair import SIZE

from alignmeter.accelerators import open_accelerator
from alignmeter.errors import InputError
from alignmeter.parallel.measured_links import measure_collectives
from alignmeter.records.links import (
    KINDS,
    SCHEMA_VERSION,
    MeasuredLinks,
    TimedCollective,
    decode_links,
    encode_links,
)
from alignmeter.session import links as session_links
from alignmeter.session.launcher import Launcher
from alignmeter.terminal.links import links_parts
from alignmeter.terminal.tables import lines

SIZES = (1000, 4096)


def made(collectives):
    return MeasuredLinks(
        schema_version=SCHEMA_VERSION,
        alignmeter="1",
        torch="2",
        accelerator="cpu",
        device="A CPU",
        world_size=SIZE,
        backend="gloo",
        measured=datetime(2026, 11, 30, tzinfo=UTC),
        collectives=collectives,
    )


def row(kind, nbytes, seconds):
    factor = {"all_reduce": 1.0}.get(kind, 0.5)
    return TimedCollective(
        kind=kind, nbytes=nbytes, seconds=seconds, bus_bytes_per_s=factor * nbytes / seconds
    )


@pytest.mark.full
def test_two_ranks_agree_on_times_of_whole_values(pair):
    one, other = pair.call(measure_collectives, open_accelerator("cpu"), SIZES)
    assert one == other
    assert [(c.kind, c.nbytes) for c in one] == [(k, n) for k in KINDS for n in (1000, 4096)]
    for found in one:
        assert found == row(found.kind, found.nbytes, found.seconds)


def test_the_document_comes_back_and_says_latency_and_bandwidth():
    found = made([row("all_gather", 10, 1.0), row("all_gather", 1000, 2.0)])
    assert decode_links(encode_links(found), "here") == found
    assert (found.latency_s("all_gather"), found.bandwidth("all_gather")) == (1.0, 250.0)
    with pytest.raises(InputError, match=r"there: not the JSON of `alignmeter links`"):
        decode_links(b'{"schema_version": 1}', "there")


def test_the_table_fits_80_columns():
    sizes = [4**power for power in range(5, 15)]
    found = made([row(kind, nbytes, 0.123456) for kind in KINDS for nbytes in sizes])
    text = lines(links_parts(found))
    assert max(map(len, text)) <= 80
    assert text[0] == "2 x A CPU, gloo"
    assert sum(line.strip().startswith(("1 KiB", "256 MiB")) for line in text) == 2


def test_fewer_than_two_devices_are_refused():
    with pytest.raises(InputError, match=r"--world-size 1 has no link; it takes 2 devices or more"):
        session_links.measure_links("cpu", Launcher(), 1)
    with pytest.raises(InputError, match=r"^rocm is not on this machine"):
        session_links.measure_links("rocm", Launcher())


def test_one_gpu_is_refused(monkeypatch):
    class Found:
        devices = (None,)

    class Gpu:
        device_nodes = ("/dev/gpu",)

    monkeypatch.setattr(session_links, "missing_text", lambda _: None)
    monkeypatch.setattr(session_links, "open_accelerator", lambda _: Gpu())
    monkeypatch.setattr(session_links, "query", lambda _: Found())
    with pytest.raises(InputError, match=r"1 cuda device here, and links are measured between 2"):
        session_links.measure_links("cuda", Launcher())


@pytest.mark.exhaustive
def test_the_command_measures_and_keeps(launcher, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(session_links, "SIZES", SIZES)
    found = session_links.measure_links("cpu", launcher)
    assert session_links.kept_links("cpu", 2) == found
    assert session_links.kept_links("cpu", 3) is None
