"""What was not measured, and why."""

__all__ = ["Failure", "failures"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.records.record import Reason, Record

_LISTED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Replicates of a cell on one device that have no measurement, all for one reason.

    ``replicates``: their numbers, or how many there are; ``reason``: that of the first.
    """

    cell_id: str
    device: str
    status: str
    count: int
    replicates: str
    reason: Reason | None


def failures(records: Sequence[Record]) -> list[Failure]:
    """In the order of the records."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for r in records:
        if r.status != "ok":
            code = r.reason.code if r.reason else ""
            key = r.cell.id, r.provenance.device, r.status, code
            groups.setdefault(key, []).append(r)
    return [
        Failure(
            cell_id=cell,
            device=device,
            status=status,
            count=len(group),
            replicates=_numbers([record.replicate for record in group]),
            reason=group[0].reason,
        )
        for (cell, device, status, _), group in groups.items()
    ]


def _numbers(replicates: Sequence[int]) -> str:
    if len(replicates) > _LISTED:
        return f"{len(replicates)} replicates"
    return ", ".join(map(str, replicates))
