"""How a replicate is measured: each setting, what it may be, and what it is where nobody says."""

__all__ = [
    "DEFAULTS",
    "SETTINGS",
    "Setting",
    "Settings",
    "default_words",
    "kind_of",
    "read_settings",
]

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignmeter.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to measure. Every replicate has the same ``seed``.

    ``timeout_s`` bounds one replicate; ``None``: by what its cell takes to build, which
    `session.time_limit` knows.

    ``warmup``: warm-up steps at least; more follow while they still get faster.

    ``operators``: profile one more step, after the memory step. ``sample_hz``: readings of power,
    memory and clocks per second, 0 for none.
    """

    steps: int = 5
    warmup: int = 2
    seed: int = 0
    timeout_s: float | None = None
    operators: bool = False
    sample_hz: float = 20.0


DEFAULTS = Settings()


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Option and limits of one field of `Settings`. ``above``: what is itself too little.

    ``unset``: in words, what holds where the default is ``None``.
    """

    flag: str
    help: str
    unset: str = ""
    metavar: str | None = None
    least: int | None = None
    above: int | None = None
    most: int | None = None

    @property
    def limits(self) -> str:
        """``at least 1``, ``more than 0``, ``0 to 1000``, ``a number``."""
        if self.least is None:
            return "a number" if self.above is None else f"more than {self.above}"
        return f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"

    def allows(self, value: float) -> bool:
        """Whether it is a number within the limits."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )


SETTINGS: dict[str, Setting] = {
    "steps": Setting(flag="--steps", least=1, help="Timed steps per replicate."),
    # At least one: it brings the optimizer's state into being.
    "warmup": Setting(flag="--warmup", least=1, help="Fewest warm-up steps before them."),
    "seed": Setting(
        flag="--seed", least=0, most=2**31 - 1, help="Seed of data, weights and sampling."
    ),
    "timeout_s": Setting(
        flag="--timeout",
        metavar="SEC",
        above=0,
        help="Time limit of one replicate.",
        unset="600 s, and what its models take to build",
    ),
    "operators": Setting(
        flag="--operators",
        help="Profile one more step: seconds in attention, scan, convolution, rest.",
    ),
    "sample_hz": Setting(
        flag="--sample-hz",
        metavar="HZ",
        least=0,
        most=1000,
        help="Readings of power, memory and clocks per second; 0 for none.",
    ),
}
"""Field of `Settings` -> its row. What the two hold apart is a fault that a test finds."""


def kind_of(name: str) -> type[bool | int | float]:
    """Type of that field's values."""
    default = getattr(DEFAULTS, name)
    return float if default is None else type(default)


def default_words(name: str) -> str:
    """That field's default as a help text names it."""
    default = getattr(DEFAULTS, name)
    return SETTINGS[name].unset if default is None else f"{default:g}"


def read_settings(
    given: Mapping[str, Any], matrix: object = None, *, flags: Mapping[str, str] | None = None
) -> Settings:
    """What was ``given``; else what the matrix says; else the default. Every surface asks here.

    Args:
        given: field -> value, ``None`` where the user did not say. matrix: a `Matrix`, which has
            some of the fields. flags: field -> option, where a surface calls it otherwise.

    Raises:
        InputError: naming the option whose value is beyond its limits.
    """
    values = dict(given)
    for name, setting in SETTINGS.items():
        value = given.get(name)
        if value is None:
            values[name] = getattr(matrix, name, getattr(DEFAULTS, name))
        elif not setting.allows(value):
            flag = (flags or {}).get(name, setting.flag)
            raise InputError(f"{flag} is {value}; give {setting.limits}")
    return Settings(**values)
