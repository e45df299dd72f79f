"""Pareto fronts, shading and kernels versus stock, on records whose answers are known."""

import re

import msgspec
import pytest
from made_cells import make_cell_records

from alignmeter.analysis.likeness import groups
from alignmeter.records.record import Reason, Verdict
from alignmeter_reports.cells import cell_rows
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


def spoiled(record, metric):
    bad = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="busy")])
    return msgspec.structs.replace(record, validity={**record.validity, metric: bad})


def test_the_front_is_what_no_like_cell_beats():
    (view,), hidden = pareto_views(cell_rows(groups(three())))
    assert hidden == 0
    assert [(p.row.cell.peft, p.cost, p.on_front) for p in view.points] == [
        ("lora", 20.0, True), ("qlora", 30.0, False), ("full", 40.0, True),
    ]  # fmt: skip
    assert [p.tokens_per_s for p in view.points] == pytest.approx([1280, 640, 2560])
    assert "llama, lora: 20, 1280; llama, full: 40, 2560" in view.chart
    assert "20, 640" not in view.chart


def test_other_methods_shapes_and_devices_have_fronts_of_their_own():
    records = [*three(), *three(method="ppo"), *three(seq_len=128), *three(accelerator="cuda")]
    views, _ = pareto_views(cell_rows(groups(records)))
    assert len({view.head for view in views}) == 4
    assert all(len(view.points) == 3 for view in views)


@pytest.mark.parametrize("metric", ["time", "memory"])
def test_what_must_not_be_ranked_is_on_no_front(metric):
    full, lora, qlora = three()
    (view,), _ = pareto_views(cell_rows(groups([full, spoiled(lora, metric), qlora])))
    assert [(p.row.cell.peft, p.on_front) for p in view.points] == [("qlora", True), ("full", True)]


def test_energy_has_its_own_front():
    """0.5 J over 256 tokens are 1.95 J per 1000."""
    records = [
        *make_cell_records([0.1], joules=0.5, peft="full"),
        *make_cell_records([0.2], joules=0.25, peft="lora"),
    ]
    views, _ = pareto_views(cell_rows(groups(records)))
    (energy,) = [view for view in views if view.cost == "energy"]
    assert [p.cost for p in energy.points] == pytest.approx([250 / 256, 500 / 256])


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
