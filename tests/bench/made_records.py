"""Records for tests: a real cell with chosen figures."""

from alignmeter.records.record import (
    OWNERS,
    SCHEMA_VERSION,
    Energy,
    Memory,
    Numerics,
    Provenance,
    Reason,
    Record,
    Throughput,
    Timing,
    Verdict,
)
from alignmeter.session.resolve import resolve_cell


def make_record(*, peak=1000, ledger=None, replicate=0, status="ok", reason=None, **axes):
    """A record whose ledger sums to ``peak``; what is not named goes to activations."""
    rows = dict.fromkeys((f"{owner}_bytes" for owner in OWNERS), 0)
    rows |= {f"{owner}_bytes": count for owner, count in (ledger or {}).items()}
    rows["activations_bytes"] += peak - sum(rows.values())
    none = Reason(code="energy_unavailable", text="no counter")
    return Record(
        schema_version=SCHEMA_VERSION,
        status=status,
        reason=reason,
        replicate=replicate,
        seed=0,
        cell=resolve_cell({"accelerator": "cpu", "data": "synthetic", **axes}).cell,
        timing=Timing(step_s=[0.1, 0.2, 0.3], median_s=0.2),
        phases={},
        memory=Memory(kind="cpu tensor storage", allocated_peak_bytes=peak),
        ledger=rows,
        energy=Energy(source="none", reason=none),
        throughput=Throughput(),
        numerics=Numerics(losses=[0.7, None]),
        validity={"memory": Verdict(ok=True), "energy": Verdict(ok=False, reasons=[none])},
        provenance=Provenance(device="cpu", environment_digest="e"),
    )
