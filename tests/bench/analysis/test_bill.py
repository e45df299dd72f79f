"""The whole bill: the peak of one stage, the sums of all."""

import math

import msgspec
import pytest
from made_records import make_record

from alignmeter.analysis.bill import bills, recipe_text
from alignmeter.analysis.likeness import groups
from alignmeter.analysis.prices import Prices
from alignmeter.records.record import Energy, Verdict
from alignmeter.registry import RECIPES
from alignmeter.terminal.bill import bill_parts
from alignmeter_reports.sections.bill import bill_rows

STEP_S = {"sft": 1.0, "rm": 2.0, "dpo": 3.0, "ppo": 10.0, "grpo": 6.0}
PEAK = {"sft": 100, "rm": 150, "dpo": 200, "ppo": 900, "grpo": 500}
HALF = 4.302652729696142 * math.log(1.1)  # t of 2 degrees, times what logs of 1/1.1, 1, 1.1 spread
HALF /= math.sqrt(3)


def record(method, replicate=0, *, scale=1.0, joules=None, **axes):
    made = make_record(method=method, peak=PEAK[method], replicate=replicate, **axes)
    timing = msgspec.structs.replace(made.timing, step_s=[scale * STEP_S[method]] * 3)
    fine = Verdict(ok=True, reasons=[])
    energy = Energy(source="counter", scope="gpu", per_step_j=joules) if joules else made.energy
    validity = {**made.validity, "time": fine, "memory": fine}
    validity |= {"energy": fine} if joules else {}
    return msgspec.structs.replace(made, timing=timing, energy=energy, validity=validity)


def every(**more):
    return [record(method, **more) for method in STEP_S]


def test_memory_is_the_largest_stages_and_time_is_the_sum():
    found = {bill.recipe: bill for bill in bills(groups(every()))}
    assert tuple(found) == RECIPES
    assert {r: (b.largest.method, b.largest.peak_bytes) for r, b in found.items()} == {
        ("sft", "dpo"): ("dpo", 200), ("sft", "rm", "ppo"): ("ppo", 900),
        ("sft", "grpo"): ("grpo", 500),
    }  # fmt: skip
    times = {r: b.time.value for r, b in found.items()}
    assert times == pytest.approx(
        {("sft", "dpo"): 4000, ("sft", "rm", "ppo"): 13000, ("sft", "grpo"): 7000}
    )
    assert all(b.time.low is None and b.energy is None for b in found.values())
    assert recipe_text(("sft", "rm", "ppo")) == "SFT + RM + PPO"


def test_intervals_of_stages_add_in_quadrature():
    records = [
        record(method, k, scale=scale)
        for method in ("sft", "dpo")
        for k, scale in enumerate((1 / 1.1, 1.0, 1.1))
    ]
    (bill,) = bills(groups(records))
    assert bill.time.value == pytest.approx(4000)
    assert bill.time.high - 4000 == pytest.approx(1000 * math.hypot(1, 3) * (math.exp(HALF) - 1))
    assert 4000 - bill.time.low == pytest.approx(1000 * math.hypot(1, 3) * (1 - math.exp(-HALF)))
    assert bill.time.n == 3


def test_a_recipe_with_a_stage_that_is_missing_or_of_another_cell_has_no_bill():
    assert bills(groups([record("sft"), record("ppo")])) == []  # no reward model was trained
    assert bills(groups([record("sft"), record("dpo", peft="lora")])) == []
    bad = record("dpo")
    bad.validity["memory"] = Verdict(ok=False, reasons=[])
    assert bills(groups([record("sft"), bad])) == []


def test_each_layout_has_a_bill_of_its_own():
    layouts = [record("ppo", ppo_topology=t) for t in ("separate", "shared")]
    found = bills(groups([record("sft"), record("rm"), *layouts]))
    assert sorted(b.stages[-1].group.cell.ppo_topology for b in found) == ["separate", "shared"]


def test_a_stage_without_a_valid_time_leaves_the_sum_open():
    bad = record("dpo")
    bad.validity["time"] = Verdict(ok=False, reasons=[])
    (bill,) = bills(groups([record("sft"), bad]))
    assert bill.time is None
    assert bill.largest.peak_bytes == 200


def test_money_is_of_the_hours_and_the_energy_of_every_stage():
    records = [record("sft", joules=7.2), record("dpo", joules=14.4)]
    device = records[0].provenance.device
    (bill,) = bills(groups(records))
    assert bill.energy.value == pytest.approx(21600)  # 1000 * (7.2 + 14.4) J, 0.006 kWh
    prices = Prices(currency="EUR", electricity_per_kwh=0.5, pue=2.0, per_hour={device: 3.6})
    (row,) = bill_rows([bill], prices)
    assert row.hours.value == pytest.approx(4000 / 3600)
    assert row.kwh == pytest.approx(0.006)
    assert row.money == pytest.approx(3.6 * 4000 / 3600 + 0.5 * 2.0 * 0.006)
    assert bill_rows([bill], Prices(currency="EUR"))[0].money is None
    assert bill_rows([bill], None)[0].money is None


def test_the_terminal_has_a_table_for_each_device_and_says_what_it_is_of():
    parts = list(bill_parts(bills(groups(every()))))
    titles = [p.text for p in parts if getattr(p, "style", "") == "bold"]
    assert len(titles) == 1
    assert titles[0].startswith("The whole bill: from a base model to an aligned one (")
