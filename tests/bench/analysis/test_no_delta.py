"""Each way in which a pair can be missing has a sentence of its own."""

import msgspec
from made_cells import make_cell_records

from alignmeter.analysis.delta import deltas
from alignmeter.analysis.no_delta import why_no_delta
from alignmeter.records.record import Reason, Verdict
from alignmeter.registry import DELTAS

LESS, MORE = DELTAS[0]
GAP = Verdict(ok=False, reasons=[Reason(code="ledger_gap", text="59 % of the peak has no owner")])


def why(*records):
    listed = list(records)
    assert deltas(listed) == []
    return why_no_delta(listed, DELTAS[0])


def one(method, **axes):
    return make_cell_records([1.0], method=method, **axes)[0]


def judged(record, verdict):
    return msgspec.structs.replace(record, validity={**record.validity, "memory": verdict})


def test_one_side_is_not_there():
    said = why(one(LESS))
    assert said == "it needs a DPO and a PPO cell alike in all else; there is no PPO cell"
    assert why().endswith("there is no DPO cell and no PPO cell")


def test_both_are_there_and_one_crashed():
    crashed = msgspec.structs.replace(
        one(MORE), status="crashed", reason=Reason(code="exception", text="")
    )
    assert why(one(LESS), crashed) == "no PPO cell was measured: exception in 1 record"


def test_both_were_measured_and_their_memory_does_not_count():
    found = [judged(one(method), GAP) for method in DELTAS[0]]
    said = why(*found)
    assert said == "no DPO cell has a memory figure that counts: ledger_gap in 1 record"


def test_both_count_and_are_not_alike():
    assert why(one(LESS), one(MORE, batch=7)).endswith("differ in batch (2 and 7)")


def test_both_are_alike_on_two_devices():
    there = one(MORE)
    there = msgspec.structs.replace(
        there, provenance=msgspec.structs.replace(there.provenance, device="another")
    )
    assert why(one(LESS), there).endswith("differ in the device")
