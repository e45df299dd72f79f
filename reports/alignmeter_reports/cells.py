"""One row per cell for the page: replicates put together, every gap with its reason."""

__all__ = ["CellRow", "cell_rows", "layout"]

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.cell import Cell
from alignmeter.record import Record
from alignmeter.statistics import Estimate, estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRow:
    """What the page says of one cell on one machine. Missing figures are ``None``.

    ``statuses`` counts replicates by status, ``invalid`` maps a metric to the reason texts that
    spoil it in any replicate.
    """

    cell: Cell
    device: str
    statuses: dict[str, int]
    time_s: Estimate | None
    peak_bytes: int | None
    memory_kind: str
    trained_per_s: float | None
    generated_per_s: float | None
    energy_j: float | None
    energy_reason: str
    agrees: str
    invalid: dict[str, list[str]]
    phases_s: dict[str, float]


def layout(cell: Cell) -> str:
    """PPO's topology and backward order; a dash for other methods."""
    return f"{cell.ppo_topology}, {cell.ppo_backward}" if cell.method == "ppo" else "-"


def cell_rows(records: Sequence[Record]) -> list[CellRow]:
    """Rows in order of id and device."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        where = record.provenance.device, record.provenance.environment_digest
        groups[(record.cell.id, *where)].append(record)
    return [_cell_row(groups[key]) for key in sorted(groups)]


def _cell_row(group: list[Record]) -> CellRow:
    good = [record for record in group if record.status == "ok"]
    last = group[-1]
    times = _positive([r.timing.median_s for r in good])
    statuses: dict[str, int] = {}
    for record in group:
        statuses[record.status] = statuses.get(record.status, 0) + 1
    return CellRow(
        cell=last.cell,
        device=last.provenance.device,
        statuses=statuses,
        time_s=estimate(times) if times else None,
        peak_bytes=max((r.memory.allocated_peak_bytes or 0 for r in good), default=0) or None,
        memory_kind=last.memory.kind,
        trained_per_s=_mean([r.throughput.trained_tokens_per_s for r in good]),
        generated_per_s=_mean([r.throughput.generated_tokens_per_s for r in good]),
        energy_j=_mean([r.energy.per_step_j for r in good]),
        energy_reason=last.energy.reason.text if last.energy.reason else "",
        agrees=_agreement(good),
        invalid=_invalid(good),
        phases_s=_phases(good),
    )


def _positive(values: Sequence[float | None]) -> list[float]:
    # Records are untrusted: a time or rate that is not above zero is none, and has no logarithm.
    return [value for value in values if value is not None and 0 < value < math.inf]


def _mean(values: Sequence[float | None]) -> float | None:
    found = _positive(values)
    return estimate(found).value if found else None


def _agreement(good: Sequence[Record]) -> str:
    found = {record.numerics.agrees for record in good}
    if False in found:
        return "no"
    return "yes" if found == {True} else "unchecked"


def _invalid(good: Sequence[Record]) -> dict[str, list[str]]:
    spoiled: dict[str, list[str]] = {}
    for record in good:
        for metric, verdict in record.validity.items():
            for reason in verdict.reasons:
                text = f"{reason.code}: {reason.text}"
                if text not in spoiled.setdefault(metric, []):
                    spoiled[metric].append(text)
    return spoiled


def _phases(good: Sequence[Record]) -> dict[str, float]:
    names = dict.fromkeys(name for record in good for name in record.phases)
    means = {
        name: _mean([r.phases[name].median_s for r in good if name in r.phases]) for name in names
    }
    return {name: mean for name, mean in means.items() if mean is not None}
