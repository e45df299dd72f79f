"""Amounts of memory on the command line."""

__all__ = ["read_memory_limit"]

import re

from alignmeter.errors import InputError
from alignmeter.units import GIB, KIB, MIB

_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
_LIMIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(KiB|MiB|GiB)")


def read_memory_limit(text: str) -> int:
    """``512MiB`` or ``1.5GiB`` in bytes. Raises `InputError` for anything else."""
    match = _LIMIT.fullmatch(text.strip())
    count = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if count < MIB:
        raise InputError(
            f"--memory-limit: {text!r} is not an amount of memory; give at least 1MiB, as a number "
            "with KiB, MiB or GiB, e.g. 512MiB"
        )
    return count
