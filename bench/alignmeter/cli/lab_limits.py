"""When a night of a lab has to end: a time of day, or hours of devices."""

__all__ = ["budget_seconds", "until_time"]

import re
from datetime import datetime, time, timedelta

from alignmeter.errors import InputError

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gpuh|h)?", re.ASCII)
_HOUR_S = 3600.0


def until_time(text: str | None) -> float | None:
    """The next time that clocks here show ``HH:MM``, in s since 1970; ``None`` where none is given.

    Raises `InputError` for what is no time of day.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    if found is None:
        raise InputError(f"--until is {text!r}; give a time of day, such as 06:00")
    clock = time(int(found[1]), int(found[2]))
    now = datetime.now().astimezone()
    end = datetime.combine(now.date(), clock).astimezone()
    if end <= now:
        end = datetime.combine(now.date() + timedelta(days=1), clock).astimezone()
    return end.timestamp()


def budget_seconds(text: str | None) -> float | None:
    """Seconds of devices, all together; ``None`` where none are given.

    Raises `InputError` for what are no hours, or none at all.
    """
    if text is None:
        return None
    found = _BUDGET.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InputError(f"--budget is {text!r}; give hours of devices, such as 40gpuh")
    return float(found[1]) * _HOUR_S
