"""What runs where: unmodified, with a fallback, not at all, or not tried."""

import msgspec
from made_cells import A_DEVICE, make_cell_records
from made_records import make_record

from alignmeter.analysis.likeness import groups
from alignmeter.records.reasons import Code
from alignmeter.records.record import Provenance, Reason, Verdict
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.sections.coverage import coverage


def sheet(records):
    """Values of the axes -> the words under each device."""
    found = coverage(cell_rows(groups(records)))
    words = {row.axes: [o and o.word for o in row.outcomes] for row in found.rows}
    return found.devices, words


def refused(code, status="unsupported", **axes):
    """On no device, as where a worker never came to one."""
    record = make_record(status=status, reason=Reason(code=code, text="no"), **axes)
    return msgspec.structs.replace(record, provenance=Provenance())


def fallen(record):
    why = Reason(code=Code.KERNEL_FELL_BACK, text="selective_scan ran in plain torch")
    verdict = Verdict(ok=False, reasons=[why])
    return msgspec.structs.replace(record, validity={**record.validity, "time": verdict})


def test_each_combination_has_a_word_for_each_device():
    cuda, rocm = {"accelerator": "cuda"}, {"accelerator": "rocm"}
    records = [
        *make_cell_records([1.0], **cuda), *make_cell_records([1.0], **rocm),
        *make_cell_records([1.0], peft="lora", **cuda),
        *map(fallen, make_cell_records([1.0], peft="lora", **rocm)),
        *make_cell_records([1.0], peft="qlora", **cuda),
        refused(Code.LIBRARY_MISSING, peft="qlora", **rocm),
        refused(Code.OUT_OF_MEMORY, "oom", method="ppo", **cuda),
    ]  # fmt: skip
    devices, words = sheet(records)
    assert devices == [A_DEVICE["cuda"], A_DEVICE["rocm"]]
    assert words == {
        ("DPO", "llama", "full", "custom"): ["runs unmodified", "runs unmodified"],
        ("DPO", "llama", "LoRA", "custom"): ["runs unmodified", "falls back"],
        ("DPO", "llama", "QLoRA", "custom"): ["runs unmodified", "unsupported"],
        ("PPO", "llama", "full", "custom"): ["out of memory", None],
    }


def test_combinations_that_say_the_same_are_one_row():
    records = [r for architecture in ("llama", "mamba") for peft in ("full", "lora")
               for r in make_cell_records([1.0], architecture=architecture, peft=peft)]  # fmt: skip
    assert sheet(records)[1] == {
        ("DPO", "llama, mamba", "full, LoRA", "custom"): ["runs unmodified"]
    }


def test_what_nobody_asked_a_device_is_not_tried():
    records = [
        *make_cell_records([1.0]),
        refused(Code.ACCELERATOR_MISSING, accelerator="cuda"),
        refused(Code.EXCLUDED, peft="lora"),
    ]
    assert sheet(records) == (
        [A_DEVICE["cpu"]], {("DPO", "llama", "full", "custom"): ["runs unmodified"]},
    )  # fmt: skip


def test_of_several_cells_it_says_how_many_ran():
    records = [*make_cell_records([1.0]), refused(Code.OUT_OF_MEMORY, "oom", batch=64)]
    (row,) = coverage(cell_rows(groups(records))).rows
    assert [(o.word, o.detail) for o in row.outcomes] == [
        ("runs unmodified", "1 of 2 cells, out of memory in others")
    ]
