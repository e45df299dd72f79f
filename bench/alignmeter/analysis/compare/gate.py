"""Which rows make the command fail."""

__all__ = ["failures", "parse_gates", "unjudged", "unjudged_text"]

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from alignmeter.analysis.compare.result import CellComparison, Comparison
from alignmeter.analysis.intervals import Outcome
from alignmeter.analysis.metrics import METRICS
from alignmeter.errors import InputError, known
from alignmeter.text import counted

_FORM = "write METRIC:PERCENT%, for example time:3%,memory:1%"


def parse_gates(text: str) -> dict[str, float]:
    """``time:3%,memory:1%`` as metric -> share of 1.

    Raises `InputError` that names the part which is wrong.
    """
    gates: dict[str, float] = {}
    for part in text.split(","):
        name, colon, amount = part.strip().partition(":")
        if not colon or not amount.endswith("%"):
            raise InputError(f"--fail-on: {part.strip()!r} is not a gate; {_FORM}")
        if name not in METRICS:
            raise InputError(f"--fail-on: {name!r} is not a metric; {known(METRICS)}")
        if name in gates:
            raise InputError(f"--fail-on: {name} is given twice; give it one limit")
        gates[name] = _share(name, amount.removesuffix("%"))
    return gates


def _share(name: str, amount: str) -> float:
    try:
        # float() would also take 1_0, 1e1, inf and other alphabets' digits.
        percent = float(amount) if amount.isascii() and amount.replace(".", "").isdigit() else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent < math.inf:
        raise InputError(
            f"--fail-on: {amount + '%'!r} of {name} is not above 0 % in plain digits; {_FORM}"
        )
    return percent / 100


def failures(comparison: Comparison, gates: Mapping[str, float] | None) -> list[CellComparison]:
    """The rows that fail, in their order: what regressed, and what BASE had and NEW has not.

    Only metrics in ``gates`` count; ``None``: all. What is said of a whole cell counts always.
    """
    return [
        row
        for row in comparison.rows
        if (row.lost or row.verdict == "regressed")
        and (gates is None or row.metric in gates or row.metric not in METRICS)
    ]


def unjudged(comparison: Comparison, gates: Iterable[str] | None) -> list[str]:
    """The metrics that could not fail, because no cell has a statistical verdict on them.

    Of ``gates`` all such; without any, those whose figures are there and invalid: that nobody
    measures energy on a CPU is no news.
    """
    judged = set(get_args(Outcome)) - {"not available"}
    verdicts: dict[str, set[str]] = {name: set() for name in METRICS}
    for row in comparison.rows:
        if row.metric in METRICS:
            verdicts[row.metric].add(row.verdict)
    asked = [name for name in METRICS if "invalid" in verdicts[name]] if gates is None else gates
    return [name for name in asked if not verdicts[name] & judged]


def unjudged_text(comparison: Comparison, names: Sequence[str]) -> str:
    """``could not be judged: time (invalid in 12 cells), energy (not available in 12 cells)``."""
    parts = []
    for name in names:
        counts = Counter(row.verdict for row in comparison.rows if row.metric == name)
        said = ", ".join(f"{verdict} in {counted(n, 'cell')}" for verdict, n in counts.items())
        parts.append(f"{name} ({said or 'no cell has it'})")
    return f"could not be judged: {', '.join(parts)}"
