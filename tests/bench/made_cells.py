"""Replicates of one cell for tests: chosen times and peaks, all of them good to rank."""

import msgspec
from made_records import make_record

from alignmeter.records.record import Energy, Memory, Phase, Provenance, Throughput, Timing, Verdict

GOOD = {name: Verdict(ok=True) for name in ("time", "memory", "energy", "numerics")}
A_DEVICE = {"cuda": "NVIDIA H100 80GB HBM3", "rocm": "AMD Instinct MI300X", "cpu": "cpu"}


def make_cell_records(times, *, peak=1000, joules=None, agrees=None, ledger=None, device=None,
                      **axes):  # fmt: skip
    """One record per time in s; on an accelerator the peak is VRAM."""
    accelerator = axes.get("accelerator", "cpu")
    place = Provenance(
        device=device or A_DEVICE[accelerator], environment_digest=accelerator, host="h",
        started="2026-01-02T03:04:05+00:00", form_factor=None if accelerator == "cpu" else "SXM",
    )  # fmt: skip
    found = []
    for k, seconds in enumerate(times):
        record = make_record(peak=peak, replicate=k, ledger=ledger, **axes)
        energy = record.energy
        if joules is not None:
            energy = Energy(source="counter", per_step_j=joules, scope="gpu")
        kind = "cpu tensor storage" if accelerator == "cpu" else "vram"
        found.append(
            msgspec.structs.replace(
                record, timing=Timing(step_s=[seconds] * 3, median_s=seconds), validity=GOOD,
                memory=Memory(kind=kind, allocated_peak_bytes=peak), energy=energy,
                throughput=Throughput(trained_tokens_per_s=256 / seconds), provenance=place,
                phases={"forward": Phase(median_s=seconds / 2)},
                numerics=msgspec.structs.replace(record.numerics, agrees=agrees),
            )
        )  # fmt: skip
    return found
