"""Pareto fronts, shading and kernels versus stock, on records whose answers are known."""

import re

import msgspec
import pytest
from made_cells import A_DEVICE, make_cell_records

from alignmeter.analysis.likeness import groups
from alignmeter.analysis.prices import Prices
from alignmeter.records.record import Reason, Verdict
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.sections.cost import cost_view
from alignmeter_reports.sections.kernels import kernels_chart, kernels_rows
from alignmeter_reports.sections.matrix import heat
from alignmeter_reports.sections.pareto import pareto_views

MIB = 2**20


def three(**changes):
    """full: 40 MiB and fast; lora: 20 MiB and slower; qlora: 30 MiB and slowest: dominated."""
    return [
        *make_cell_records([0.1], peak=40 * MIB, peft="full", **changes),
        *make_cell_records([0.2], peak=20 * MIB, peft="lora", **changes),
        *make_cell_records([0.4], peak=30 * MIB, peft="qlora", **changes),
    ]


def views(records, prices=None):
    """The charts, and how many found no room."""
    found = groups(records)
    rows = cell_rows(found)
    return pareto_views(rows, cost_view(rows, found, prices))


def spoiled(record, metric):
    bad = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="busy")])
    return msgspec.structs.replace(record, validity={**record.validity, metric: bad})


def test_the_front_is_what_no_like_cell_beats():
    (view,), hidden = views(three())
    assert hidden == 0
    (front,) = view.fronts
    assert [(p.row.cell.peft, p.cost, p.on_front) for p in front.points] == [
        ("lora", 20.0 * MIB, True), ("qlora", 30.0 * MIB, False), ("full", 40.0 * MIB, True),
    ]  # fmt: skip
    assert [p.tokens_per_s for p in front.points] == pytest.approx([1280, 640, 2560])
    assert "llama LoRA (20 MiB, 1280), llama full (40 MiB, 2560)" in view.chart
    assert "30 MiB, 640" not in view.chart


def test_other_methods_and_shapes_have_charts_of_their_own_and_devices_share_one():
    records = [*three(), *three(method="ppo"), *three(seq_len=128), *three(accelerator="cuda")]
    found, _ = views(records)
    assert len({view.head for view in found}) == len(found) == 3
    assert [len(view.fronts) for view in found] == [2, 1, 1]
    assert all(len(front.points) == 3 for view in found for front in view.fronts)
    assert all(name in found[0].chart for name in (A_DEVICE["cpu"], A_DEVICE["cuda"]))


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_points_of_a_device_are_not_drawn(count):
    """The other device's front stands without them."""
    few = three(accelerator="cuda")[:count]
    assert views(few) == ([], 0)
    (view,), _ = views([*three(), *few])
    assert [front.device for front in view.fronts] == [A_DEVICE["cpu"]]


@pytest.mark.parametrize("metric", ["time", "memory"])
def test_what_is_invalid_is_on_no_front(metric):
    full, lora, qlora = three()
    other = make_cell_records([0.3], peak=50 * MIB, architecture="mamba")
    (view,), _ = views([full, spoiled(lora, metric), qlora, *other])
    (front,) = view.fronts
    assert [(p.row.cell.peft, p.on_front) for p in front.points] == [
        ("qlora", True), ("full", True), ("full", False),
    ]  # fmt: skip


def test_energy_and_money_have_fronts_of_their_own():
    """0.5 J over 256 tokens are 1.95 J per 1000. At 3.6 EUR an hour 0.1 s are 0.0001 EUR: of a
    million tokens 0.39 EUR. Where the time is invalid there is no money, as in the table."""
    records = [
        *make_cell_records([0.1], joules=0.5, peft="full", accelerator="cuda"),
        *make_cell_records([0.2], joules=0.25, peft="lora", accelerator="cuda"),
        *make_cell_records([0.4], joules=1.0, peft="qlora", accelerator="cuda"),
    ]
    prices = Prices(currency="EUR", per_hour={A_DEVICE["cuda"]: 3.6})
    found, _ = views(records, prices)
    by_cost = {view.cost: [p.cost for p in view.fronts[0].points] for view in found}
    assert by_cost["energy per 1000 trained tokens"] == pytest.approx(
        [250 / 256, 500 / 256, 1000 / 256]
    )
    assert by_cost["EUR per million trained tokens"] == pytest.approx(
        [100 / 256, 200 / 256, 400 / 256]
    )
    bad = [spoiled(records[0], "time"), *records[1:]]
    assert "EUR per million trained tokens" not in {view.cost for view in views(bad, prices)[0]}


def test_intervals_of_speed_are_drawn():
    """From three replicates on a line goes through each marker; its ends are in the y axis."""

    def chart(times):
        records = [r for k, peft in enumerate(("full", "lora", "qlora"), 1)
                   for r in make_cell_records(times, peak=k * MIB, peft=peft)]  # fmt: skip
        (view,), _ = views(records)
        return re.findall(r'd="(M [^"]*)"', view.chart)

    def upright(paths):
        points = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path) for path in paths]
        return sum(len(p) == 2 and p[0][0] == p[1][0] and p[0][1] != p[1][1] for p in points)

    assert upright(chart([0.1, 0.11, 0.12])) == upright(chart([0.1])) + 3


def test_shades_go_from_the_least_to_the_largest_on_a_logarithmic_scale():
    rows = cell_rows(groups([
        *make_cell_records([0.1], peak=10, peft="full"),
        *make_cell_records([1.0], peak=20, peft="lora"),
        *make_cell_records([10.0], peak=40, peft="qlora"),
    ]))  # fmt: skip
    shades = heat(rows)
    by_peft = {row.cell.peft: row.anchor for row in rows}
    for column in ("time", "peak"):
        assert [shades[by_peft[p], column] for p in ("full", "lora", "qlora")] == [0, 18, 36]


def test_no_shade_where_all_are_alike_or_a_figure_must_not_be_ranked():
    alike = cell_rows(groups([*make_cell_records([1.0]), *make_cell_records([1.0], peft="lora")]))
    assert heat(alike) == {}
    records = three()
    rows = cell_rows(groups([records[0], spoiled(records[1], "memory"), records[2]]))
    anchor = next(row.anchor for row in rows if row.cell.peft == "lora")
    assert (anchor, "peak") not in heat(rows)
    assert (anchor, "time") in heat(rows)


def test_custom_kernels_as_a_share_of_stock():
    records = [
        *make_cell_records([0.1, 0.1, 0.1], peak=10, kernels="custom"),
        *make_cell_records([0.4, 0.4, 0.4], peak=40, kernels="stock"),
        *make_cell_records([0.4, 0.4, 0.4], peak=40, kernels="stock", seq_len=128),
    ]
    rows = kernels_rows(groups(records))
    (row,) = rows
    assert (row.time.value, row.time.low, row.time.high) == pytest.approx((0.25, 0.25, 0.25))
    assert row.memory.value == 0.25
    assert row.base == "stock"
    chart = kernels_chart(rows)
    assert "custom kernels" in chart
    (desc,) = re.findall("<desc>(.*?)</desc>", chart)
    assert desc.endswith("versus stock: step time 0.25 times, peak memory 0.25 times.")


def test_a_loaded_host_leaves_memory_and_says_why_there_is_no_time():
    custom = [spoiled(r, "time") for r in make_cell_records([0.1], peak=10, kernels="custom")]
    stock = make_cell_records([0.4], peak=40, kernels="stock")
    (row,) = kernels_rows(groups([*custom, *stock]))
    assert row.time is None
    assert "host_loaded" in row.time_reason
    assert row.memory.value == 0.25


def test_without_a_pair_there_is_no_chart():
    assert kernels_rows(groups(three())) == []
    assert kernels_chart([]) == ""
