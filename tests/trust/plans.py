"""Plans against the allocator: ``python tests/trust/plans.py --kept rows.jsonl``.

Every cell of the covering sets, of random weights and of checkpoints, is predicted and measured,
the measurement in a process of its own that runs the step and reads the CPU allocator's events.
What predicts takes no part in it. Rows that ``--kept`` has are not made again: it may be stopped
and started at any time, as long as the cells stay what they are.
"""

__all__ = ["BOUND_PERCENT", "Checked", "check", "main", "table"]

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec
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
_TIMEOUT_S = 1800.0
_SHOWN = 12
"""Cells that the table names."""
BOUND_PERCENT = 1.0
"""The error that is allowed."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One cell, predicted and measured."""

    predicted: Prediction
    measured_bytes: int

    @property
    def error_percent(self) -> float:
        """How far the prediction is above the allocator's peak."""
        return 100 * (self.predicted.peak_bytes / self.measured_bytes - 1)

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
            yield Checked(predicted=predicted, measured_bytes=next(profiles).peak_bytes)


def table(rows: Sequence[Checked]) -> Iterator[str]:
    """Lines of Markdown: the worst cells, a row per method, then all together."""
    yield "| cell | predicted | measured | error | peak in |"
    yield "|---|---:|---:|---:|---|"
    for row in sorted(rows, key=lambda row: -abs(row.error_percent))[:_SHOWN]:
        predicted, measured = row.predicted.peak_bytes, row.measured_bytes
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
@click.option("--kept", type=click.Path(path_type=Path, dir_okay=False), help="JSON Lines.")
def main(kept: Path | None) -> None:
    """Print the table of errors; exit status 1 if one is beyond 1 %."""
    rows = [] if kept is None or not kept.exists() else _read(kept)
    with tempfile.TemporaryDirectory() as root, Launcher() as launcher:
        launcher.begin_round(0)
        cells = [*covering_cells(), *checkpoint_cells(Path(root))]
        for row in check(cells[len(rows) :], launcher):
            rows.append(row)
            if kept is not None:
                with kept.open("ab") as file:
                    file.write(msgspec.json.encode(row) + b"\n")
            click.echo(f"{len(rows)} of {len(cells)}: {row.error_percent:+.2f} %", err=True)
    click.echo("\n".join(table(rows)))
    sys.exit(0 if all(row.ok for row in rows) else 1)


def _read(kept: Path) -> list[Checked]:
    return [msgspec.json.decode(line, type=Checked) for line in kept.read_bytes().splitlines()]


if __name__ == "__main__":
    main()
