"""``python tests/trust/changes.py``: how often changes are found, and found in vain.

Histories are drawn whose truth is known: 30 runs, the figure of each 1.5 % off at random. They are
judged as a whole by the function that `alignmeter history` uses.
"""

__all__ = ["Found", "made_series", "false_alarms", "steps_found"]

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from intervals import print_trials

from alignmeter.analysis.history.detection import change_points
from alignmeter.analysis.history.result import ChangePoint, Node, Point, Series

_STEP_S = 0.2
"""The true time of a step before the change."""
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_NODE = Node(host="simulated", device="none")
_RUNS = 30
_NEAR = 1
"""Runs by which a change may be misplaced and still be in place: noise hides the very run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Shares of changes found, and found within a run of their place; of histories with others."""

    found: float
    placed: float
    beside: float


def made_series(figures: Sequence[float], cell_id: str = "cell", metric: str = "time") -> Series:
    """A series with a run a day. ``figures``: in the metric's unit."""
    points = [
        Point(
            run=f"run-{number:03d}",
            started=(_FIRST + timedelta(days=number)).isoformat(),
            commit=f"{number:040x}",
            value=figure,
            replicates=1,
        )
        for number, figure in enumerate(figures)
    ]
    return Series(cell_id=cell_id, metric=metric, kind="", node=_NODE, points=points)


def _figures(rng: random.Random, noise: float, factor: float, start: int) -> list[float]:
    """Times in s; ``factor`` times as long from run ``start`` on."""
    return [
        _STEP_S * rng.lognormvariate(0.0, noise) * (factor if number >= start else 1.0)
        for number in range(_RUNS)
    ]


def _histories(
    series: int, changed: int, trials: int, noise: float, factor: float, start: int
) -> Iterator[list[ChangePoint]]:
    """The changes of so many histories; only the first ``changed`` of the series really change."""
    rng = random.Random(0)
    for _ in range(trials):
        yield change_points(
            [
                made_series(_figures(rng, noise, factor if n < changed else 1.0, start), str(n))
                for n in range(series)
            ]
        )


def steps_found(
    *, series: int, after: int, changed: int = 1, noise: float = 0.015, trials: int
) -> Found:
    """``changed`` of ``series`` take 5 % longer in the last ``after`` of their 30 runs."""
    start = _RUNS - after
    found = placed = beside = 0
    for changes in _histories(series, changed, trials, noise, 1.05, start):
        at = [int(c.run[-3:]) for c in changes if int(c.cell_id) < changed and c.ratio > 1]
        true = [index for index in at if abs(index - start) <= _NEAR]
        found += len(at)
        placed += len(true)
        beside += len(changes) > len(at)
    wanted = trials * changed
    return Found(found=found / wanted, placed=placed / wanted, beside=beside / trials)


def false_alarms(*, series: int, noise: float = 0.015, trials: int) -> tuple[float, float]:
    """Share of histories without any change in which one is listed, and changes per series."""
    counts = [len(changes) for changes in _histories(series, 0, trials, noise, 1.0, _RUNS)]
    return sum(map(bool, counts)) / trials, sum(counts) / (trials * series)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _lines(trials: int) -> Iterator[str]:
    yield f"5 % slower among {_RUNS} runs, noise 1.5 %, {trials} histories a row"
    yield f"{'changed':>12} {'runs after':>12} {'found':>10} {'in place':>10} {'others':>10}"
    for changed, series in ((1, 1), (1, 48), (12, 48)):
        for after in (3, 5, 8, 15):
            got = steps_found(series=series, changed=changed, after=after, trials=trials)
            shares = f"{_percent(got.found):>10} {_percent(got.placed):>10}"
            of = f"{changed} of {series}"
            yield f"{of:>12} {after:>12} {shares} {_percent(got.beside):>10}"
    yield ""
    yield f"nothing changed among {_RUNS} runs, {trials} histories a row"
    yield f"{'series':>8} {'noise':>12} {'histories':>10} {'per series':>12}"
    for series in (1, 48):
        for noise in (0.015, 0.03):
            some, each = false_alarms(series=series, noise=noise, trials=trials)
            per = f"{100 * each:.4f} %"
            yield f"{series:>8} {100 * noise:>10.1f} % {_percent(some):>10} {per:>12}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table. Wrong arguments end the process with exit status 2."""
    parser = argparse.ArgumentParser(prog="python tests/trust/changes.py", description=__doc__)
    print_trials(parser, 500, _lines, arguments)


if __name__ == "__main__":
    main()
