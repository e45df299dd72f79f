"""The table in which plans of several cells end."""

from alignmeter.analysis.prices import Prices
from alignmeter.records.prediction import Fit, Prediction
from alignmeter.session.resolve import resolve_cell
from alignmeter.terminal.plan import plans_parts
from alignmeter.terminal.tables import Grid, Paragraph
from alignmeter.units import GIB

PRICES = Prices(currency="EUR", per_hour={"H100-SXM": 2.5})


def plan_of(method, size):
    axes = {"method": method, "accelerator": "cuda", "data": "synthetic", "batch": size}
    if size > 1:
        axes |= {"world_size": size, "parallel": "fsdp2", "rollout_weights": "gathered"}
    return Prediction(
        cell=resolve_cell(axes).cell, peak_bytes=GIB, peak_phase="backward", peak_operator="mm",
        phases={}, trained_parameters=7, ledger={"activations_bytes": GIB},
        fits={"H100-SXM": Fit(ok=True, spare_bytes=GIB)},
    )  # fmt: skip


def rows_of(plans):
    (grid,) = [part for part in plans_parts(plans, PRICES) if isinstance(part, Grid)]
    return [
        tuple(cell.text if isinstance(cell, Paragraph) else cell for cell in row.cells)
        for row in grid.rows
    ]


def test_more_devices_cost_as_many_times_the_price_of_one():
    rows = rows_of([plan_of(method, size) for size in (1, 4) for method in ("dpo", "grpo")])
    assert [(row[3], row[4]) for row in rows] == [
        ("H100-SXM", "2.50"), ("H100-SXM", "2.50"),
        ("4 x H100-SXM", "10.00"), ("4 x H100-SXM", "10.00"),
    ]  # fmt: skip


def test_what_grows_with_the_devices_does_not_name_a_row():
    rows = rows_of([plan_of(method, size) for size in (1, 4) for method in ("dpo", "grpo")])
    assert [row[0] for row in rows] == [
        "dpo world_size 1", "grpo world_size 1", "dpo world_size 4", "grpo world_size 4",
    ]  # fmt: skip
    assert [row[0] for row in rows_of([plan_of("dpo", 2), plan_of("grpo", 2)])] == ["dpo", "grpo"]
