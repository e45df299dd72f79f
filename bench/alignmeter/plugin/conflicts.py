"""Options of pytest and of its plugins beside which nothing can be measured as it was asked for."""

__all__ = ["conflict"]

import os
from collections.abc import Callable
from typing import Any

import pytest

_REPEATS = {"count": "--count", "reruns": "--reruns"}
"""Where pytest-repeat and pytest-rerunfailures put their numbers, and their options."""


def conflict(config: pytest.Config) -> str | None:
    """What is wrong with the options beside ``--benchmark``, and what would be right."""

    def given(name: str) -> Any:
        return config.getoption(name, None)

    checks: tuple[Callable[[Callable[[str], Any]], str | None], ...] = (
        _of_benchmark, _of_workers, _of_repeats,
    )  # fmt: skip
    return next((said for check in checks if (said := check(given)) is not None), None)


def _of_benchmark(given: Callable[[str], Any]) -> str | None:
    if given("benchmark_only") is None:
        return "--benchmark measures through pytest-benchmark; leave out -p no:benchmark"
    if given("benchmark_disable") and not given("benchmark_enable"):
        return "--benchmark measures; leave out --benchmark-disable, or add --benchmark-enable"
    if given("benchmark_skip") and not given("benchmark_only"):
        return "--benchmark measures; leave out --benchmark-skip, or add --benchmark-only"
    return None


def _of_workers(given: Callable[[str], Any]) -> str | None:
    if given("numprocesses") or given("dist") not in (None, "no") or given("tx"):
        return "--benchmark measures one cell at a time; leave out -n, --dist and --tx"
    if given("looponfail"):
        return "--benchmark measures one cell at a time; leave out --looponfail"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return "PYTEST_XDIST_WORKER is set, so that pytest-benchmark measures nothing; unset it"
    return None


def _of_repeats(given: Callable[[str], Any]) -> str | None:
    for name, flag in _REPEATS.items():
        number = given(name)
        if isinstance(number, int) and number > (name == "count"):
            return f"{flag} {number} would measure cells again in place of their records; " + (
                f"give --replicates {number}" if name == "count" else "leave it out"
            )
    if given("flake_finder_enable"):
        return "--flake-finder would measure cells again in place of their records; " \
               "give --replicates"  # fmt: skip
    return None
