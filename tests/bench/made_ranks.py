"""Records of steps of several devices, with chosen figures."""

import msgspec
from made_records import make_record

from alignmeter.records.ranks import Collective, Communication, Rank
from alignmeter.records.record import OWNERS, Timing, Verdict

SENT = Communication(
    kinds={
        "all_gather": Collective(calls=11, bytes=3 * 2**20, total_s=0.2, exposed_s=0.1),
        "reduce_scatter": Collective(calls=4, bytes=2**20, total_s=0.1, exposed_s=0.1),
    },
    source="torch's profiler, one step",
)


def ledger_of(peak):
    return {f"{owner}_bytes": peak if owner == "activations" else 0 for owner in OWNERS}


def make_ranks(*, peaks, seconds, method="dpo", replicate=0, **axes):
    """A record of as many ranks as there are peaks in bytes and median steps in s."""
    ranks = [
        Rank(
            rank=number, node="node", device=f"GPU-{number}", peak_bytes=peak, median_s=median,
            ledger=ledger_of(peak),
        )
        for number, (peak, median) in enumerate(zip(peaks, seconds, strict=True))
    ]  # fmt: skip
    shared = {"world_size": len(peaks), "parallel": "fsdp2"} if len(peaks) > 1 else {}
    record = make_record(
        peak=max(peaks),
        method=method,
        peft="full",
        replicate=replicate,
        batch=4,
        **{**shared, **axes},
    )
    slowest = max(seconds)
    return msgspec.structs.replace(
        record,
        timing=Timing(step_s=[slowest] * 3, median_s=slowest),
        validity={**record.validity, "time": Verdict(ok=True)},
        ranks=ranks if shared else [],
        communication=SENT if shared else None,
    )
