"""The gate held against this machine: equal runs compare equal, a slowed step is found.

Run through tox: ``tox -e gate``. Three folders are measured in turns, a replicate of each per
round, so that a busy machine slows all: the matrix twice without a change between, and once with
one cell's step slowed on purpose. Then `alignmeter.compare` says what it sees. Exit status 1 if an
unchanged cell is called regressed, or the slowed one is not.
"""

import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from alignmeter.compare import CellComparison, compare, terminal_lines
from alignmeter.folder import load_folders

SLOWED = ("dpo", "llama", "lora")


@click.group()
def main() -> None:
    """Measure, or be one measured run."""


@main.command()
@click.option("--matrix", default="quick", show_default=True)
@click.option("--replicates", default=6, show_default=True)
@click.option(
    "--share", default=0.10, show_default=True, help="Of its time, by which it is slowed."
)
@click.option("--steps", default=40, show_default=True, help="Timed steps of a replicate.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False))
def gate(matrix: str, replicates: int, share: float, steps: int, out: Path | None) -> None:
    """Measure three folders in turns and compare them."""
    folder = out or Path(tempfile.mkdtemp(prefix="alignmeter-gate-"))
    base, same, slow = (folder / name for name in ("base", "same", "slow"))
    for number in range(1, replicates + 1):
        for place, slowed in ((base, 0.0), (same, 0.0), (slow, share)):
            seconds = measure(place, matrix, (number, steps), slowed)
            click.echo(f"round {number}, {place.name}: {seconds:.0f} s", err=True)
    records = {place: load_folders([place]).records for place in (base, same, slow)}
    right = True
    for place in (same, slow):
        found = compare(records[base], records[place])
        click.echo(f"\n{place.name} against base")
        click.echo("\n".join(terminal_lines(found, [])))
        slower_cells = [
            row.cell_id for row in found.rows if row.metric == "time" and row.verdict == "regressed"
        ]
        wanted = [row.cell_id for row in found.rows if row.metric == "time" and is_slowed(row)]
        right &= slower_cells == (wanted if place is slow else [])
    sys.exit(0 if right else 1)


def is_slowed(row: CellComparison) -> bool:
    """Whether it is the cell that is slowed: an id begins with method, architecture and size."""
    method, architecture, _, peft, *_ = row.cell_id.split("-")
    return (method, architecture, peft) == SLOWED


def measure(folder: Path, matrix: str, counts: tuple[int, int], slowed: float) -> float:
    """One more replicate into ``folder``: what is there already is kept. Seconds it took.

    ``counts``: replicates, and steps of each.
    """
    start = time.monotonic()
    arguments = [matrix, str(folder), *map(str, counts)]
    command = [sys.executable, __file__, "one", str(slowed), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


@main.command()
@click.argument("slowed", type=float)
@click.argument("arguments", nargs=4)
def one(slowed: float, arguments: tuple[str, str, str, str]) -> None:
    """`alignmeter run`, every worker slowing SLOWED's step."""
    from alignmeter.cli import main as alignmeter
    from alignmeter.session import launcher

    matrix, folder, replicates, steps = arguments
    launcher.serve = functools.partial(serve_slowed, share=slowed)
    sys.argv = ["alignmeter", "run", matrix, "--out", folder, "--replicates", replicates]
    sys.argv += ["--steps", steps]
    alignmeter()


def serve_slowed(*arguments: object, share: float) -> None:
    """A worker whose step of SLOWED takes ``share`` longer, computing nothing meanwhile."""
    from alignmeter.session.worker import serve
    from alignmeter.session.workload import Workload

    plain = Workload.build

    def build(self: Workload) -> float:
        seconds = plain(self)
        cell = self.cell
        if (cell.method, cell.architecture, cell.peft) == SLOWED:
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


if __name__ == "__main__":
    main()
