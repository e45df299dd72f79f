"""The portability tables of a report: which kernels compile for which chips."""

__all__ = ["PortabilityView", "portability_views"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.records.portability import Portability, PortabilityRow, failure, summary


@dataclass(frozen=True, kw_only=True, slots=True)
class PortabilityView:
    """One table as the page shows it: rows with what is wrong with each, the worst first."""

    triton: str
    summary: str
    rows: list[tuple[PortabilityRow, str | None]]


def portability_views(tables: Sequence[Portability]) -> list[PortabilityView]:
    """In order of Triton's version; equal tables give equal text."""
    views = [
        PortabilityView(
            triton=table.triton,
            summary=summary(table),
            rows=[(row, failure(row)) for row in sorted(table.rows, key=_badness)],
        )
        for table in tables
    ]
    return sorted(views, key=lambda view: (view.triton, view.summary))


def _badness(row: PortabilityRow) -> tuple[object, ...]:
    """What fails, then what spills, then what leaves the fewest registers; then by name."""
    return (
        row.error is None,
        failure(row) is None,
        -(row.spills or 0),
        -(row.registers or 0),
        *(row.kernel, row.function, row.dtype, row.chip, row.case),
    )
