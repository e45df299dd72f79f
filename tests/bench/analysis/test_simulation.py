"""Intervals and verdicts against a known truth.

Steps are autocorrelated (0.7) and every process has a level of its own. Trials are seeded; the
bounds are the promised ones, and the short tests have room of three standard errors to them.
"""

import itertools
import math
import random
import subprocess
import sys

import pytest
from intervals import (
    Machine,
    coverage,
    found_memory_changes,
    main,
    outcomes,
    pooled_coverage,
    ratio_coverage,
)

NOISY = Machine(run_noise=0.03, step_noise=0.03)
QUIET = Machine(run_noise=0.015, step_noise=0.015)


def test_the_noise_is_what_it_says():
    """Over many processes: the levels' spread, the steps' spread and their autocorrelation."""
    rng = random.Random(3)
    machine = Machine(run_noise=0.03, step_noise=0.02, steps=50)
    runs = [[math.log(step) for step in machine.step_times(rng)] for _ in range(2000)]
    levels = [sum(run) / len(run) for run in runs]
    centre = sum(levels) / len(levels)
    # The mean of 50 steps keeps a share of their noise: 0.02 * sqrt(5.5 / 50).
    spread = math.sqrt(sum((level - centre) ** 2 for level in levels) / len(levels))
    assert spread == pytest.approx(math.hypot(0.03, 0.02 * math.sqrt(5.5 / 50)), rel=0.06)
    apart = [[step - level for step in run] for run, level in zip(runs, levels, strict=True)]
    squares = [a * a for run in apart for a in run]
    assert math.sqrt(sum(squares) / len(squares)) == pytest.approx(0.019, rel=0.05)
    products = [a * b for run in apart for a, b in itertools.pairwise(run)]
    kept = (sum(products) / len(products)) / (sum(squares) / len(squares))
    assert kept == pytest.approx(0.7, abs=0.06)  # a little less: each run's own mean is taken off


@pytest.mark.parametrize("replicates", [3, 6])
def test_intervals_cover_the_truth(replicates):
    assert 0.92 <= coverage(NOISY, replicates, trials=1500) <= 0.98
    assert 0.92 <= ratio_coverage(NOISY, (replicates, replicates), trials=1500) <= 0.98


def test_pooled_steps_would_not_cover_it():
    """Why a replicate counts once: the steps of a process are no independent samples."""
    assert pooled_coverage(NOISY, 6, trials=500) < 0.75


def test_in_turns_a_drift_of_the_machine_hides_nothing_from_pairs():
    """Rounds differ by 10 %, replicates of a round by 1.5 %: pairs see no drift."""
    found = outcomes(QUIET, 6, 1.05, trials=1000, drift=0.1, paired=True)
    assert found["regressed"] >= 0.80
    assert outcomes(QUIET, 6, 1.05, trials=1000, drift=0.1)["regressed"] < 0.20
    same = outcomes(QUIET, 6, 1.0, trials=1000, drift=0.1, paired=True)
    assert same.get("regressed", 0.0) <= 0.015


def test_a_slow_down_of_5_percent_is_found_and_an_unchanged_cell_is_left_alone():
    assert outcomes(QUIET, 6, 1.05, trials=1000)["regressed"] >= 0.90
    same = outcomes(QUIET, 6, 1.0, trials=1000)
    assert same.get("regressed", 0.0) <= 0.01
    assert same.get("improved", 0.0) <= 0.01


def test_a_speed_up_is_found_as_often():
    assert outcomes(QUIET, 6, 1 / 1.05, trials=1000)["improved"] >= 0.90


def test_below_three_replicates_nothing_is_ever_said():
    assert outcomes(NOISY, 2, 3.0, trials=50) == {"not available": 1.0}


def test_memory_changes_of_one_percent_are_found_always():
    assert found_memory_changes(trials=5000) == 1.0


def test_the_command_prints_the_figures(capsys):
    main(["--trials", "40"])
    said = capsys.readouterr().out
    assert "Coverage of 95 % intervals" in said
    assert "Memory changes of 1 % that are found: 100.00 %" in said
    assert max(map(len, said.splitlines())) <= 80
    wrong = subprocess.run(
        [sys.executable, "tests/trust/intervals.py", "--trials", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "at least 1" in wrong.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("autocorrelation", [0.0, 0.7, 0.95])
@pytest.mark.parametrize("replicates", [3, 4, 6, 10])
def test_intervals_cover_the_truth_at_length(replicates, autocorrelation, steps):
    machine = Machine(autocorrelation=autocorrelation, steps=steps)
    assert 0.92 <= coverage(machine, replicates, trials=5000) <= 0.98
    for base in {3, replicates}:
        assert 0.92 <= ratio_coverage(machine, (base, replicates), trials=5000) <= 0.98


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("steps", [5, 20])
def test_power_and_false_alarms_at_length(seed, steps):
    machine = Machine(run_noise=0.015, step_noise=0.015, steps=steps)
    assert outcomes(machine, 6, 1.05, trials=10_000, seed=seed)["regressed"] >= 0.90
    same = outcomes(machine, 6, 1.0, trials=10_000, seed=seed)
    assert same.get("regressed", 0.0) <= 0.01
    assert same.get("improved", 0.0) <= 0.01


@pytest.mark.exhaustive
def test_memory_changes_at_length():
    assert found_memory_changes(trials=300_000, seed=1) == 1.0
