"""Answers per device: one direction a sentence, and the count that its pairs have."""

from datetime import UTC, datetime, timedelta

import pytest
from made_cells import make_cell_records
from msgspec.structs import replace

from alignmeter.analysis.answers import answers, newest
from alignmeter.analysis.cost import cost_metric
from alignmeter.analysis.likeness import groups
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.prices import Prices
from alignmeter.analysis.unmeasured import why_nothing
from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason, Verdict
from alignmeter.terminal.answers import answer_parts
from alignmeter.terminal.tables import lines

CLOSE = (1.0, 1.001, 0.999)
BAD = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="busy")])


def cells(seconds, **axes):
    return make_cell_records([seconds * share for share in CLOSE], **axes)


def asked(records, question, metric="time", **chosen):
    found = [a for a in newest(answers(groups(records), **chosen)) if a.question == question]
    return {a.device: next(part for part in a.parts if part.metric.name == metric) for a in found}


def texts(part):
    return [str(one).replace("\N{MULTIPLICATION SIGN}", "x") for one in part.sentences]


def two_vendors():
    """MI300X halves a DPO step of llama and takes twice as long for one of mamba and for PPO."""
    factors = {("dpo", "llama"): 0.5, ("dpo", "mamba"): 2.0, ("ppo", "llama"): 2.0,
               ("ppo", "mamba"): 2.5}  # fmt: skip
    return [
        record
        for (method, architecture), factor in factors.items()
        for accelerator, seconds in (("cuda", 1.0), ("rocm", factor))
        for record in cells(
            seconds, method=method, architecture=architecture, accelerator=accelerator
        )
    ]


def test_where_it_turns_there_is_a_sentence_per_method_and_per_architecture_and_no_mean():
    question = "AMD Instinct MI300X versus NVIDIA H100 80GB HBM3"
    (part,) = asked(two_vendors(), question).values()
    assert texts(part) == [
        "DPO, llama: 2.0x faster [2.0, 2.0]",
        "DPO, mamba: 2.0x slower [2.0, 2.0]",
        "PPO: 2.0 to 2.5x slower in both pairs",
    ]
    assert sum(one.pairs for one in part.sentences) == len(part.told) == 4


def test_of_many_methods_those_that_say_the_same_are_one_sentence_with_the_figures_of_each():
    """Two faster for llama and slower for mamba, two slower in all, one left open for llama."""
    factors = {("sft", "llama"): 0.5, ("sft", "mamba"): 2.0, ("dpo", "llama"): 0.8,
               ("dpo", "mamba"): 1.5, ("ppo", "llama"): 2.0, ("ppo", "mamba"): 2.5,
               ("rm", "llama"): 1.6, ("orpo", "llama"): 1.0}  # fmt: skip
    records = [
        record
        for (method, architecture), factor in factors.items()
        for accelerator, seconds in (("cuda", 1.0), ("rocm", factor))
        for record in cells(
            seconds, method=method, architecture=architecture, accelerator=accelerator
        )
    ]
    question = "AMD Instinct MI300X versus NVIDIA H100 80GB HBM3"
    (part,) = asked(records, question).values()
    assert texts(part) == [
        "faster in 2 pairs, llama: SFT 2.0x [2.0, 2.0]; DPO 1.25x [1.25, 1.25]",
        "slower in 2 pairs, mamba: SFT 2.0x [2.0, 2.0]; DPO 1.50x [1.50, 1.50]",
        "slower in 3 pairs: RM 1.60x [1.60, 1.60]; PPO 2.0 to 2.5x",
        "equal within 3 % in 1 pair: ORPO \N{MINUS SIGN}0.2 % to +0.2 %",
    ]
    assert sum(one.pairs for one in part.sentences) == len(part.told) == 8


def test_pairs_that_agree_are_one_sentence_and_invalid_ones_are_told_apart():
    records = [*cells(1.0), *cells(2.0, method="ppo"), *cells(1.0, peft="lora")]
    records += [replace(r, validity={**r.validity, "time": BAD})
                for r in cells(3.0, method="ppo", peft="lora")]  # fmt: skip
    (part,) = asked(records, "DPO versus PPO").values()
    assert texts(part) == ["2.0x faster [2.0, 2.0]"]
    assert part.excluded == "1 of 2 pairs excluded: host_loaded in 3 of 3 replicates"
    (memory,) = asked(records, "DPO versus PPO", "memory").values()
    assert texts(memory) == ["the same in both pairs"]


def test_an_open_figure_is_no_difference():
    """A tenth more, and none of it clear."""
    noisy = make_cell_records([0.8, 1.1, 1.5], peft="lora")
    (part,) = asked([*cells(1.0), *noisy], "LoRA versus full fine-tuning").values()
    assert texts(part)[0].startswith("no clear difference (")
    shown = " ".join(" ".join(lines(answer_parts(answers(groups([*cells(1.0), *noisy]))))).split())
    assert "step time: no clear difference (" in shown
    assert "energy per step" not in shown  # nobody has it


def night(records, days, **said):
    when = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days)).isoformat()
    return [replace(r, provenance=replace(r.provenance, started=when, **said)) for r in records]


def test_after_a_driver_change_the_newest_answers_and_the_older_keeps_its_name():
    def pair(seconds):
        return [*cells(1.0), *cells(seconds, method="ppo")]

    old = night(pair(2.0), 0, environment_digest="a", driver="570.1", versions={"torch": "2.12"})
    new = night(pair(4.0), 1, environment_digest="b", driver="575.5", versions={"torch": "2.12"})
    found = [a for a in answers(groups([*old, *new])) if a.question == "DPO versus PPO"]
    assert [a.device for a in found] == ["cpu (driver 575.5)", "cpu (driver 570.1)"]
    assert [a.device for a in newest(found)] == ["cpu (driver 575.5)"]
    (part,) = asked([*old, *new], "DPO versus PPO").values()
    assert texts(part) == ["4.0x faster [4.0, 4.0]"]


@pytest.mark.parametrize(("paid", "invalid"), [(None, "time"), (0.25, "time"), (0.25, "energy")])
def test_an_invalid_time_or_an_energy_that_is_paid_makes_cost_invalid(paid, invalid):
    prices = Prices(currency="EUR", per_hour={"cpu": 3.6}, electricity_per_kwh=paid)
    records = [*cells(1.0, joules=2.0), *cells(2.0, joules=4.0, method="ppo")]
    (part,) = asked(records, "DPO versus PPO", "cost", metrics=[cost_metric(prices)]).values()
    assert texts(part) == ["saves 50 % [50, 50]"]
    assert cost_metric(prices).text(0.5) == "0.5 EUR"
    bad = [replace(r, validity={**r.validity, invalid: BAD}) for r in records]
    (part,) = asked(bad, "DPO versus PPO", "cost", metrics=[cost_metric(prices)]).values()
    assert part.sentences == []
    assert part.excluded == "not available: host_loaded in 3 of 3 replicates"


def test_cost_of_a_million_tokens_is_that_of_the_steps_they_take():
    """256 tokens a step of 1 s at 3.6 an hour: 0.001 a step, so 3.90625 for a million."""
    prices = Prices(currency="EUR", per_hour={"cpu": 3.6})
    (record,) = make_cell_records([1.0])
    assert cost_metric(prices).pick(record) == pytest.approx(1e6 / 256 * 0.001)
    assert METRICS["time"].validity == cost_metric(prices).validity == ("time",)


def test_where_nothing_was_measured_the_reasons_say_so_the_most_frequent_first():
    def failed(status, code, text):
        return replace(make_cell_records([1.0])[0], status=status,
                       reason=Reason(code=code, text=text))  # fmt: skip

    oom = failed("oom", Code.OUT_OF_MEMORY, "tried 9 GiB")
    found = why_nothing([failed("unsupported", Code.ACCELERATOR_MISSING, "no GPU"), oom, oom])
    assert found[0].startswith(
        f"2 of 3 replicates: out_of_memory, {Code.OUT_OF_MEMORY.meaning} (tried 9 GiB). What helps"
    )
    assert "accelerator_missing" in found[1]
    assert len(found) == 2
    assert why_nothing([*make_cell_records([1.0]), oom]) == []
    assert why_nothing([]) == ["there is no record of a step"]
