"""The gate held against this machine: equal runs compare equal, a slowed step is found.

Run through tox: ``tox -e gate``. Three folders are measured in turns: of each cell three workers
are alive at once, twice without a change between them and once slowed on purpose, if it is the cell
to be slowed, and a step of each follows on a step of the others, on one core that nothing else of
this is on. What the machine does to one it does to all. `alignmeter compare --paired` then says
what it sees. Exit status 1 if an unchanged cell is called regressed, or the slowed one is not.
"""

import functools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from alignmeter.analysis.compare import CellComparison, Comparison, compare
from alignmeter.cells.matrix import expand, read_matrix
from alignmeter.cells.settings import read_settings
from alignmeter.errors import CellError
from alignmeter.records.folder import load_folders, write_record
from alignmeter.terminal.comparison import comparison_parts
from alignmeter.terminal.tables import print_parts

SLOWED = ("dpo", "llama", "lora")
FOLDERS = ("base", "same", "slow")
SEED = 0


@click.command()
@click.option("--matrix", default="quick", show_default=True)
@click.option("--replicates", default=6, show_default=True)
@click.option(
    "--share", default=0.10, show_default=True, help="Of its time, by which it is slowed."
)
@click.option("--steps", default=50, show_default=True, help="Timed steps of a replicate.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False))
def main(matrix: str, replicates: int, share: float, steps: int, out: Path | None) -> None:
    """Measure three folders in turns and compare them."""
    from alignmeter.session import resolve_plan
    from alignmeter.session.launcher import Launcher

    folder = out or Path(tempfile.mkdtemp(prefix="alignmeter-gate-"))
    chosen = read_matrix(matrix)
    plan = resolve_plan(expand(chosen, {}))
    # Without samplers: three at once would be twice too many.
    settings = read_settings({"steps": steps, "seed": SEED, "sample_hz": 0.0}, chosen)
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {core} or {core})
    launcher, dice = Launcher(), random.Random(SEED)
    turns = Turns(settings=settings, launcher=launcher, dice=dice, core=core, share=share)
    try:
        for number in range(replicates):
            launcher.begin_round(number)
            start = time.monotonic()
            for planned in dice.sample(plan, len(plan)):
                for name, finished in turns.measure(planned, number).items():
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    write_record(folder / name, finished.record, finished.timeline)
            click.echo(f"round {number + 1}: {time.monotonic() - start:.0f} s", err=True)
    finally:
        launcher.close()
    sys.exit(0 if judged(folder) else 1)


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Replicates of one cell that are measured a step of each at a time, in an order by chance.

    ``core``: the workers' own. ``share``: of its time, by which the slow folder's step is slowed.
    """

    settings: Any
    launcher: Any
    dice: random.Random
    core: int
    share: float

    def measure(self, planned: Any, number: int) -> dict[str, Any]:
        """Folder -> its replicate, finished."""
        from alignmeter.session.replicate import Replicate

        runs = {
            name: Replicate(
                planned=planned, index=number, settings=self.settings, launcher=self.launcher
            )
            for name in FOLDERS
        }
        try:
            for name, run in runs.items():
                with served(self.core, self.share if name == "slow" else 0.0):
                    run.start()
            for _ in range(self.settings.steps):
                for name in self.dice.sample(FOLDERS, len(FOLDERS)):
                    runs[name].step()
        except CellError as error:
            click.echo(f"{planned.cell.id}: {error}", err=True)
        return {name: run.finish() for name, run in runs.items()}


class served:  # noqa: N801 - a context manager
    """Workers that are started meanwhile have one core, and a step of `SLOWED` that is slowed."""

    def __init__(self, core: int, share: float) -> None:
        self._core, self._share = core, share

    def __enter__(self) -> None:
        from alignmeter.session import launcher

        self._plain = launcher.serve
        launcher.serve = functools.partial(serve_there, core=self._core, share=self._share)

    def __exit__(self, *_: object) -> None:
        from alignmeter.session import launcher

        launcher.serve = self._plain


def serve_there(*arguments: object, core: int, share: float) -> None:
    """A worker on ``core`` whose step of `SLOWED` takes ``share`` longer and computes nothing then.

    With a share of 0 nothing is put around the step.
    """
    os.sched_setaffinity(0, {core})
    from alignmeter.worker.serve import serve
    from alignmeter.worker.workload import Workload

    plain = Workload.build

    def build(self: Workload) -> float:
        seconds = plain(self)
        cell = self.cell
        if share and (cell.method, cell.architecture, cell.peft) == SLOWED:
            self.step_object.run = slower(self.step_object.run, share)
        return seconds

    Workload.build = build
    serve(*arguments)


def slower(run: Callable[..., Any], share: float) -> Callable[..., Any]:
    """``run``, and then nothing for ``share`` of the time that it took."""

    def step(*arguments: Any) -> Any:
        start = time.monotonic()
        outcome = run(*arguments)
        time.sleep(share * (time.monotonic() - start))
        return outcome

    return step


def judged(folder: Path) -> bool:
    """Whether `compare` finds the slowed cell and nothing else; says what it found."""
    base, *others = ([folder / name] for name in FOLDERS)
    right = True
    for other in others:
        found = compare(load_folders(base).records, load_folders(other).records, paired=True)
        click.echo(f"\n{other[0].name} versus base")
        print_parts(comparison_parts(found, []))
        wanted = [row.cell_id for row in times(found) if is_slowed(row)]
        right &= regressed(found) == (wanted if other[0].name == "slow" else [])
    return right


def times(found: Comparison) -> Sequence[CellComparison]:
    """The rows on the time of a step."""
    return [row for row in found.rows if row.metric == "time"]


def regressed(found: Comparison) -> list[str]:
    """The cells whose time is called so."""
    return [row.cell_id for row in times(found) if row.verdict == "regressed"]


def is_slowed(row: CellComparison) -> bool:
    """Whether it is the cell that is slowed: an id begins with method, architecture and size."""
    method, architecture, _, peft, *_ = row.cell_id.split("-")
    return (method, architecture, peft) == SLOWED


if __name__ == "__main__":
    main()
