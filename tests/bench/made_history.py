"""Runs for tests: folders or pairs of run and record, a run a day, with chosen figures."""

import json
import random
from datetime import UTC, datetime, timedelta

import msgspec
from made_records import make_record

from alignmeter.records.folder import record_path
from alignmeter.records.record import (
    Energy,
    Provenance,
    Reason,
    Throughput,
    Timing,
    Verdict,
    encode_record,
)

FULL = make_record()
LORA = make_record(peft="lora")
FIRST = datetime(2026, 1, 1, 10, tzinfo=UTC)


def started(number, hours=0):
    return (FIRST + timedelta(days=number, hours=hours)).isoformat()


def replicate(made=FULL, number=0, *, seconds=0.2, peak=1_000_000, joules=None, bad=(), kind=None,
              scope="gpu", **said):  # fmt: skip
    """One record of ``seconds`` a step. ``bad``: metrics that are invalid."""
    loaded = Reason(code="host_loaded", text="others used 80 %")
    validity = {
        name: Verdict(ok=name not in bad, reasons=[loaded] if name in bad else [])
        for name in ("time", "memory", "energy", "numerics")
    }
    if joules is None:
        reason = Reason(code="energy_unavailable", text="no counter")
        validity["energy"] = Verdict(ok=False, reasons=[reason])
        energy = Energy(source="none", reason=reason)
    else:
        energy = Energy(source="counter", scope=scope, per_step_j=joules)
    memory = msgspec.structs.replace(
        made.memory, allocated_peak_bytes=peak, kind=kind or made.memory.kind
    )
    usual = {"device": "cpu", "host": "one", "commit": "a" * 40, "versions": {"torch": "2.12.0"}}
    return msgspec.structs.replace(
        made,
        replicate=number,
        timing=Timing(step_s=[seconds], median_s=seconds),
        memory=memory,
        ledger={},
        energy=energy,
        throughput=Throughput(trained_tokens_per_s=100 / seconds),
        validity=validity,
        provenance=Provenance(**(usual | said)),
    )


def noisy(count, seed=1, noise=0.015, level=0.2, factor=1.0, start=None):
    """So many times in s; from ``start`` on ``factor`` times as long."""
    rng = random.Random(seed)
    first = count if start is None else start
    return [
        level * rng.lognormvariate(0.0, noise) * (factor if number >= first else 1.0)
        for number in range(count)
    ]


def runs_of(times, made=FULL, *, hours=0, name="run", peaks=None, change=None, **said):
    """A pair of run and record for each time. ``change``: (run, provenance from that run on)."""
    pairs = []
    for number, seconds in enumerate(times):
        later = change[1] if change and number >= change[0] else {}
        record = replicate(
            made,
            seconds=seconds,
            peak=1_000_000 if peaks is None else peaks[number],
            started=started(number, hours),
            **(said | later),
        )
        pairs.append((f"{name}-{number:03d}", record))
    return pairs


def write_runs(folder, pairs):
    """Folders as `alignmeter run` leaves them; without its fsync, which nobody waits for here."""
    for run, record in pairs:
        place = folder / run
        place.mkdir(parents=True, exist_ok=True)
        (place / "run.json").write_text(json.dumps({"schema_version": 1}))
        path = record_path(place, record.cell.id, record.replicate)
        path.write_bytes(encode_record(record))
    return folder
