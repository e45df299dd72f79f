"""The metrics that are compared: one row each."""

__all__ = ["METRICS", "Metric", "usable"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import Estimate, exact_ratio, paired_ratio, ratio, step_median
from alignmeter.records.record import Record
from alignmeter.units import bytes_text, seconds_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """``title``: what people call it. ``minimum``: the smallest effect that counts, as a share of
    1. ``validity``: the keys of a record's validity that speak for it, all of which must be ok.
    ``exact``: bytes, compared without an interval. ``more``: the verb of one that is larger;
    ``speed``: a ratio of it is said as a factor of speed. ``measure``, ``factor``: its name in
    Bencher Metric Format, and its unit there. ``missing``: why a record has none, where it can say.
    """

    name: str
    title: str
    pick: Callable[[Record], float | None]
    text: Callable[[float], str]
    minimum: float
    validity: tuple[str, ...]
    measure: str
    more: str = "needs"
    speed: bool = False
    factor: float = 1.0
    exact: bool = False
    higher_is_better: bool = False
    missing: Callable[[Record], str] | None = None

    def ratio(
        self, new: Sequence[float], base: Sequence[float], *, paired: bool = False
    ) -> Estimate:
        """``new / base``: exact for bytes, else on logs, by Welch or by pairs. Raises as those do.

        ``paired``: figures at the same place belong together.
        """
        if self.exact:
            return exact_ratio([int(v) for v in new], [int(v) for v in base])
        return paired_ratio(new, base) if paired else ratio(new, base)


def _time_s(record: Record) -> float | None:
    return step_median(record.timing.step_s)


def _peak_bytes(record: Record) -> float | None:
    return record.memory.allocated_peak_bytes


def _energy_j(record: Record) -> float | None:
    return record.energy.per_step_j


def _trained_per_s(record: Record) -> float | None:
    return record.throughput.trained_tokens_per_s


def _joules_text(joules: float) -> str:
    return f"{joules:.4g} J"


def _rate_text(per_s: float) -> str:
    return f"{per_s:,.0f}/s" if 100 <= per_s < 1e7 else f"{per_s:.3g}/s"


_ROWS = (
    # Bencher counts latency in ns and throughput in operations per s.
    Metric(name="time", title="step time", pick=_time_s, text=seconds_text, minimum=0.03,
           validity=("time",), measure="latency", factor=1e9, speed=True),
    Metric(name="memory", title="peak memory", pick=_peak_bytes, text=bytes_text, minimum=0.01,
           validity=("memory",), measure="memory", exact=True),
    # Energy and tokens per s follow time, and so do their minimum effect and their validity: a
    # loaded host or a lower clock changes the energy of a step as it changes its time.
    Metric(name="energy", title="energy per step", pick=_energy_j, text=_joules_text, minimum=0.03,
           validity=("energy", "time"), measure="energy"),
    Metric(name="tokens", title="trained tokens per s", pick=_trained_per_s, text=_rate_text,
           minimum=0.03, validity=("time",), measure="throughput", higher_is_better=True,
           speed=True),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}
"""Name -> metric: time of a step in s, peak memory in bytes, energy of a step in J, trained tokens
per s. Tokens per s come from the same step times, so they are valid where time is.
"""


def usable(value: float | None) -> bool:
    """Whether a figure has a logarithm, and differences of logarithms that can be undone.

    Records are untrusted; no step takes 1e-30 s and no peak has 1e30 bytes.
    """
    return value is not None and 1e-30 < value < 1e30
