"""``python tests/trust/shared_data.py``: what a large preference file adds to a run.

The 12 cells of the quick matrix are measured with the packaged text and with a file of 60 000 rows,
in turns, with stock kernels: a file's cells have no packaged reference, and computing one would be
counted as the file's. Prints how often the file was read, how long reading and checking took, and
the ratio of the two times after that.
"""

__all__ = ["main", "write_rows"]

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from alignmeter.batches import preferences
from alignmeter.batches.files import read_rows
from alignmeter.cells.matrix import expand, read_matrix
from alignmeter.cells.settings import Settings
from alignmeter.records.record import Record
from alignmeter.session import Planned, resolve_plan, run_matrix
from alignmeter.session.launcher import Launcher
from alignmeter.session.run import Job

_ROWS = 60_000
_WORDS = (
    "tide", "gauge", "harbour", "float", "reading", "water", "level", "datum", "chart", "pier",
)  # fmt: skip
_MIB = 2**20


class _Quiet:
    """Listens to a run and says nothing."""

    def expects(self, count: int) -> None:
        """Nothing."""

    def begins(self, job: Job) -> None:
        """Ignored."""

    def ends(self, job: Job, record: Record, *, resumed: bool) -> None:
        """Ignored."""


def write_rows(path: Path, rows: int) -> None:
    """Plain rows with texts as long as UltraFeedback's: about 1 KB of words in each."""
    draw = random.Random(0)

    def words(least: int, most: int) -> str:
        return " ".join(draw.choices(_WORDS, k=draw.randint(least, most)))

    with path.open("w") as file:
        for number in range(rows):
            chosen, rejected = f"{number} {words(20, 120)}", f"no {number} {words(20, 120)}"
            row = {"prompt": words(8, 80), "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")


def resolved(data: str) -> tuple[list[Planned], float]:
    """The cells of the quick matrix on ``data``, and the seconds that took."""
    start = time.perf_counter()
    axes = {"accelerator": ("cpu",), "kernels": ("stock",), "data": (data,)}
    plan = resolve_plan(expand(read_matrix("quick"), axes))
    return plan, time.perf_counter() - start


def measured(plan: Sequence[Planned], steps: int) -> tuple[float, float]:
    """Seconds of a run of ``plan``, and the largest RSS of its workers in MiB."""
    settings = Settings(steps=steps, warmup=1, sample_hz=0.0)
    with tempfile.TemporaryDirectory() as folder, Launcher() as launcher:
        launcher.begin_round(0)
        launcher.start().close()  # the forkserver's imports are neither's
        start = time.perf_counter()
        records = run_matrix(
            plan, Path(folder), settings, replicates=1, launcher=launcher, listener=_Quiet()
        )
        seconds = time.perf_counter() - start
    bad = [record.reason for record in records if record.status != "ok"]
    if bad:
        raise RuntimeError(f"{len(bad)} cells could not be measured: {bad[0]}")
    return seconds, max(record.memory.rss_peak_bytes or 0 for record in records) / _MIB


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args(arguments)
    reads = []

    def counted(data: str, *more: object) -> object:
        reads.append(data)
        return read_rows(data, *more)  # type: ignore[arg-type]

    preferences.read_rows = counted  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path, given.rows)
        plans = {name: resolved(name) for name in ("packaged", str(path))}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in plans}
        for _ in range(given.rounds):
            for name, (plan, _) in plans.items():
                found[name].append(measured(plan, given.steps))
    packaged, large = ([sum(column) / given.rounds for column in zip(*found[name], strict=True)]
                       for name in plans)  # fmt: skip
    sys.stdout.write(
        f"{given.rows} rows, {path.name} read {reads.count(str(path))} time(s); read, checked and "
        f"selected in {plans[str(path)][1]:.1f} s\n"
        f"{len(plans['packaged'][0])} cells: packaged {packaged[0]:.1f} s, largest RSS "
        f"{packaged[1]:.0f} MiB; file {large[0]:.1f} s, {large[1]:.0f} MiB: "
        f"{large[0] / packaged[0] - 1:+.1%}\n"
    )


if __name__ == "__main__":
    main()
