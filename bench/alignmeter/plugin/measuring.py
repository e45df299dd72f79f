"""What one ``pytest --benchmark`` holds, from its first hook to its report."""

__all__ = ["RUN", "CellChoice", "Measuring", "is_asked", "measuring"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alignmeter.cells.settings import Settings
from alignmeter.errors import InputError
from alignmeter.plugin.options import Asked, option
from alignmeter.records.capacity import Searches

# A pytest that measures nothing should not wait for torch: what imports it is imported where it is
# used.
if TYPE_CHECKING:
    from alignmeter.plugin.cells import CellBench
    from alignmeter.runs.opened import OpenRun
    from alignmeter.session import Planned


@dataclass(frozen=True, kw_only=True, slots=True)
class CellChoice:
    """What the fixture of one test is told: its cell, and which replicate of it to measure."""

    planned: "Planned"
    settings: Settings
    replicate: int = 0


@dataclass(kw_only=True)
class Measuring:
    """``notes``: what plans had to say. ``ineffective``: what flags, matrices and data have that
    changes no cell. ``faults``: what stops the session once it is collected.

    ``measured_by``: record's name -> the test that measured it. ``in_flight``: the cell that is
    measured now. ``written``: the report's files, once they are. ``failed``: why they are not.
    ``nothing``: the session has no result. ``benchmarks``: how many tests are some.
    """

    asked: Asked
    opened: "OpenRun"
    searches: Searches
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ineffective: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    measured_by: dict[tuple[str, int], str] = field(default_factory=dict)
    in_flight: "CellBench | None" = None
    written: tuple[Path, Path] | None = None
    failed: str | None = None
    nothing: bool = False
    shown: bool = False
    benchmarks: int = 0

    @property
    def found_nothing(self) -> bool:
        """Whether no cell, search or kernel of this session has a result."""
        records = self.opened.records
        done = any(r.status == "ok" and (r.cell.id, r.replicate) in self.measured_by
                   for r in records)  # fmt: skip
        return not (done or self.searches.points or self.comparisons)

    def finish(self) -> None:
        """Store the cell in flight, and write the report: once, and whatever else fails."""
        if self.in_flight is not None:
            self.in_flight.cut_short(KeyboardInterrupt())
        if self.written is not None or not (self.opened.records or self.searches.points):
            return
        try:
            self.written = self.opened.report()
        except InputError as error:
            self.failed = str(error)


RUN = pytest.StashKey[Measuring]()


def measuring(config: pytest.Config) -> Measuring | None:
    """The run of this session; ``None`` without ``--benchmark``."""
    return config.stash.get(RUN, None)


def is_asked(config: pytest.Config) -> bool:
    """Whether this session is to measure."""
    return bool(option(config, "--benchmark"))
