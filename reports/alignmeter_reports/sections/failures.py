"""What was not measured, and why; and what is noted of figures that stand."""

__all__ = ["Failure", "failures", "noted"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmeter.records.record import Reason, Record

_LISTED = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Replicates of a cell on one device that have no measurement, or a note, for one reason.

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
    return _rows((r, r.reason) for r in records if r.status != "ok")


def noted(records: Sequence[Record]) -> list[Failure]:
    """The records' notes, in their order: whatever they say, the figures stand."""
    return _rows((r, note) for r in records for note in r.notes)


def _rows(said: Iterable[tuple[Record, Reason | None]]) -> list[Failure]:
    groups: dict[tuple[str, str, str, str], list[tuple[Record, Reason | None]]] = {}
    for r, reason in said:
        key = r.cell.id, r.provenance.device, r.status, reason.code if reason else ""
        groups.setdefault(key, []).append((r, reason))
    return [
        Failure(
            cell_id=cell,
            device=device,
            status=status,
            count=len(group),
            replicates=_numbers([record.replicate for record, _ in group]),
            reason=group[0][1],
        )
        for (cell, device, status, _), group in groups.items()
    ]


def _numbers(replicates: Sequence[int]) -> str:
    if len(replicates) > _LISTED:
        return f"{len(replicates)} replicates"
    return ", ".join(map(str, replicates))
