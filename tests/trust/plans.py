"""Plans against the allocator: ``python tests/trust/plans.py``.

Every cell of the covering sets, of random weights and of checkpoints, is predicted and measured,
the measurement in a process of its own that runs the step and reads the CPU allocator's events.
What predicts takes no part in it.
"""

__all__ = ["BOUND_PERCENT", "Checked", "check", "main", "table"]

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
from covering import checkpoint_cells, covering_cells

from alignmeter.cells.axes import RANDOM
from alignmeter.cells.cell import Cell
from alignmeter.planner.trace import predict
from alignmeter.records.prediction import Prediction
from alignmeter.registry import METHODS
from alignmeter.session.launcher import Launcher
from alignmeter.units import bytes_text
from alignmeter.worker.messages import MemoryProfile

_SEED = 0
_TIMEOUT_S = 300.0
_SHOWN = 12
"""Cells that the table names."""
BOUND_PERCENT = 1.0
"""The error that is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """One cell, predicted and measured."""

    predicted: Prediction
    measured: MemoryProfile

    @property
    def error_percent(self) -> float:
        """How far the prediction is above the allocator's peak."""
        return 100 * (self.predicted.peak_bytes / self.measured.peak_bytes - 1)

    @property
    def ok(self) -> bool:
        """Whether it stays within `BOUND_PERCENT`."""
        return abs(self.error_percent) <= BOUND_PERCENT


def measure(cell: Cell, launcher: Launcher) -> MemoryProfile:
    """The second step's memory, in a fresh worker. Raises `CellError` if it fails."""
    worker = launcher.start()
    try:
        worker.call("open", cell, _SEED, timeout_s=_TIMEOUT_S)
        for verb in ("build", "prepare", "step"):
            worker.call(verb, timeout_s=_TIMEOUT_S)
        profile: MemoryProfile = worker.call("memory_step", timeout_s=_TIMEOUT_S)
    finally:
        worker.close()
    return profile


def check(cells: Sequence[Cell], launcher: Launcher) -> Iterator[Checked]:
    """Predict each cell while a worker measures it."""
    with ThreadPoolExecutor(1) as pool:
        profiles = pool.map(lambda cell: measure(cell, launcher), cells)
        for cell in cells:
            predicted = predict(cell, seed=_SEED)
            yield Checked(predicted=predicted, measured=next(profiles))


def table(rows: Sequence[Checked]) -> Iterator[str]:
    """Lines of Markdown: the worst cells, a row per method, then all together."""
    yield "| cell | predicted | measured | error | peak in |"
    yield "|---|---:|---:|---:|---|"
    for row in sorted(rows, key=lambda row: -abs(row.error_percent))[:_SHOWN]:
        predicted, measured = row.predicted.peak_bytes, row.measured.peak_bytes
        yield (
            f"| `{row.predicted.cell.id}` | {bytes_text(predicted)} | {bytes_text(measured)} | "
            f"{row.error_percent:+.2f} % | {row.predicted.peak_phase} |"
        )
    yield ""
    yield "| method | weights | cells | median error | worst |"
    yield "|---|---|---:|---:|---:|"
    for method in METHODS:
        for weights, drawn in (("random", True), ("checkpoints", False)):
            errors = [
                abs(row.error_percent)
                for row in rows
                if row.predicted.cell.method == method
                and (row.predicted.cell.model == RANDOM) is drawn
            ]
            if errors:
                median, worst = statistics.median(errors), max(errors)
                yield f"| {method} | {weights} | {len(errors)} | {median:.2f} % | {worst:.2f} % |"
    errors = [abs(row.error_percent) for row in rows]
    yield ""
    yield (
        f"{len(rows)} cells, {sum(not row.ok for row in rows)} beyond {BOUND_PERCENT:g} %; "
        f"worst {max(errors):.2f} %, median {statistics.median(errors):.2f} %"
    )


@click.command()
def main() -> None:
    """Print the table of errors; exit status 1 if one is beyond 1 %."""
    launcher = Launcher()
    launcher.begin_round(0)
    with tempfile.TemporaryDirectory() as root:
        try:
            rows = []
            for row in check([*covering_cells(), *checkpoint_cells(Path(root))], launcher):
                rows.append(row)
                click.echo(f"{len(rows)} {row.error_percent:+.2f} %", err=True)
        finally:
            launcher.close()
    click.echo("\n".join(table(rows)))
    sys.exit(0 if all(row.ok for row in rows) else 1)


if __name__ == "__main__":
    main()
