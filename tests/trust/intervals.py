"""``python tests/trust/intervals.py``: how often intervals and verdicts are right.

Step times are drawn from a machine whose truth is known, as the harness would measure them: steps
within a process are autocorrelated, and every process is a little faster or slower as a whole. The
functions that judge them are those that `alignmeter compare` uses.
"""

__all__ = ["Machine", "coverage", "found_memory_changes", "outcomes", "pooled_coverage",
           "print_trials", "ratio_coverage"]  # fmt: skip

import argparse
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import (
    Estimate,
    Outcome,
    estimate,
    exact_ratio,
    outcome,
    ratio,
    step_median,
)
from alignmeter.analysis.metrics import METRICS

_STEP_S = 0.2
"""The true time of a step. Intervals and verdicts do not depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What disturbs a measurement, as shares of the true time.

    ``run_noise``: standard deviation of a process's level. ``step_noise``: of its steps around
    that level; ``autocorrelation``: of one step with the next. ``steps``: timed steps per process.
    """

    run_noise: float = 0.03
    step_noise: float = 0.03
    autocorrelation: float = 0.7
    steps: int = 5

    def step_times(self, rng: random.Random, factor: float = 1.0) -> list[float]:
        """One process: its steps in s. ``factor``: how much slower the truth is."""
        level = _STEP_S * factor * rng.lognormvariate(0.0, self.run_noise)
        kept = self.autocorrelation
        fresh = self.step_noise * (1 - kept**2) ** 0.5  # so that the noise is stationary
        state = rng.gauss(0.0, self.step_noise)
        steps = []
        for _ in range(self.steps):
            steps.append(level * (1 + state))
            state = kept * state + rng.gauss(0.0, fresh)
        return steps

    def medians(self, rng: random.Random, replicates: int, factor: float = 1.0) -> list[float]:
        """The figures of so many replicates, in s."""
        found = (step_median(self.step_times(rng, factor)) for _ in range(replicates))
        return [median for median in found if median is not None]


def _dice(seed: int) -> random.Random:
    return random.Random(seed)


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def coverage(machine: Machine, replicates: int, *, trials: int, seed: int = 0) -> float:
    """Share of trials whose 95 % interval holds the true step time."""
    rng = _dice(seed)
    return statistics.fmean(
        _holds(estimate(machine.medians(rng, replicates)), _STEP_S) for _ in range(trials)
    )


def pooled_coverage(machine: Machine, replicates: int, *, trials: int, seed: int = 0) -> float:
    """The same if every step counted as a sample of its own: what this project does not do."""
    rng = _dice(seed)
    return statistics.fmean(
        _holds(estimate([s for _ in range(replicates) for s in machine.step_times(rng)]), _STEP_S)
        for _ in range(trials)
    )


def ratio_coverage(
    machine: Machine, replicates: tuple[int, int], *, trials: int, seed: int = 0
) -> float:
    """Share of trials whose interval of NEW / BASE holds the truth; ``replicates`` of each."""
    rng, factor = _dice(seed), 1.05
    base, new = replicates
    return statistics.fmean(
        _holds(ratio(machine.medians(rng, new, factor), machine.medians(rng, base)), factor)
        for _ in range(trials)
    )


def outcomes(
    machine: Machine,
    replicates: int,
    factor: float,
    *,
    trials: int,
    seed: int = 0,
    drift: float = 0.0,
    paired: bool = False,
) -> dict[Outcome, float]:
    """Verdict on time -> share of trials, where NEW's steps truly take ``factor`` of BASE's.

    ``drift``: standard deviation of what slows a whole round, a replicate of each, alike.
    """
    rng, time = _dice(seed), METRICS["time"]

    def verdict() -> Outcome:
        new, base = machine.medians(rng, replicates, factor), machine.medians(rng, replicates)
        if drift:
            rounds = [rng.lognormvariate(0.0, drift) for _ in range(replicates)]
            new, base = ([s * by for s, by in zip(side, rounds, strict=True)]
                         for side in (new, base))  # fmt: skip
        return outcome(time.ratio(new, base, paired=paired), time.minimum)

    counts = Counter(verdict() for _ in range(trials))
    return {found: count / trials for found, count in counts.items()}


def found_memory_changes(*, trials: int, seed: int = 0) -> float:
    """Share of peaks whose change of 1 %, up or down, is called so. Bytes have no noise."""
    rng = _dice(seed)
    right = 0
    for _ in range(trials):
        small = 100 * rng.randrange(1, 10**10)
        large = small * 101 // 100
        minimum = METRICS["memory"].minimum
        right += outcome(exact_ratio([large], [small]), minimum) == "regressed"
        right += outcome(exact_ratio([small], [large]), minimum) == "improved"
    return right / (2 * trials)


def _percent(share: float) -> str:
    return f"{100 * share:6.2f} %"


def _coverage_lines(trials: int) -> Iterator[str]:
    yield "Coverage of 95 % intervals, 3 % run-to-run noise, autocorrelation 0.7"
    yield f"{'replicates':>12} {'of a time':>12} {'of a ratio':>12} {'steps pooled':>14}"
    machine = Machine()
    for n in (3, 4, 6, 10):
        shares = (
            coverage(machine, n, trials=trials),
            ratio_coverage(machine, (n, n), trials=trials),
            pooled_coverage(machine, n, trials=trials),
        )
        time, both, pooled = map(_percent, shares)
        yield f"{n:>12} {time:>12} {both:>12} {pooled:>14}"


def _verdict_lines(trials: int) -> Iterator[str]:
    yield "Verdicts on time, minimum effect 3 %"
    yield f"{'noise':>8} {'replicates':>12} {'5 % slower: found':>20} {'unchanged: regressed':>22}"
    for noise in (0.01, 0.015, 0.03):
        machine = Machine(run_noise=noise, step_noise=noise)
        for n in (3, 6, 10):
            slower = outcomes(machine, n, 1.05, trials=trials).get("regressed", 0.0)
            same = outcomes(machine, n, 1.0, trials=trials).get("regressed", 0.0)
            yield f"{100 * noise:>6.1f} % {n:>12} {_percent(slower):>20} {_percent(same):>22}"


def _turn_lines(trials: int) -> Iterator[str]:
    """BASE and NEW in turns on a machine whose rounds differ by much more than its replicates."""
    yield "Measured in turns, 1.5 % noise, rounds that differ by 10 %, 6 replicates"
    yield f"{'compared':>21} {'5 % slower: found':>20} {'unchanged: regressed':>22}"
    machine = Machine(run_noise=0.015, step_noise=0.015)
    for words, paired in (("in pairs", True), ("side by side", False)):
        slower, same = (
            outcomes(machine, 6, factor, trials=trials, drift=0.1, paired=paired)
            for factor in (1.05, 1.0)
        )
        shares = (_percent(found.get("regressed", 0.0)) for found in (slower, same))
        yield "{:>21} {:>20} {:>22}".format(words, *shares)


def _lines(trials: int) -> Iterator[str]:
    yield from _coverage_lines(trials)
    yield ""
    yield from _verdict_lines(trials)
    yield ""
    yield from _turn_lines(trials)
    yield ""
    yield f"Memory changes of 1 % that are found: {_percent(found_memory_changes(trials=trials))}"
    yield f"{trials} trials each."


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table. Wrong arguments end the process with exit status 2."""
    parser = argparse.ArgumentParser(prog="python tests/trust/intervals.py", description=__doc__)
    print_trials(parser, 4000, _lines, arguments)


def print_trials(
    parser: argparse.ArgumentParser,
    default: int,
    lines: Callable[[int], Iterator[str]],
    arguments: Sequence[str] | None,
) -> None:
    """Each line as it comes, over ``--trials``. Wrong arguments end the process with status 2."""
    parser.add_argument("--trials", type=int, default=default, help=f"per figure ({default})")
    trials = parser.parse_args(arguments).trials
    if trials < 1:
        parser.error("--trials must be at least 1")
    for line in lines(trials):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
