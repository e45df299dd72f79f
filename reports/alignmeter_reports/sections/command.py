"""The command that repeats a cell."""

__all__ = ["command_of"]

import re
import shlex

from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record

_ALWAYS = ("method", "architecture", "size", "peft", "accelerator", "precision", "ref",
           "prompt_len")  # fmt: skip
"""The others are named only where they are not at their default."""
_PLAIN = re.compile(r"[A-Za-z0-9_./+@:=][A-Za-z0-9_./+@:= -]{0,200}")
"""What an axis may hold. Other text could carry a line break or a comma, which means two values."""


def command_of(record: Record) -> str | None:
    """`alignmeter cell` with every axis that makes this cell, ready to paste into a shell.

    ``None`` where an axis holds text that no command line gives: records are untrusted.
    """
    words = ["alignmeter", "cell"]
    for name, value in record.cell.axes().items():
        if (name not in _ALWAYS and value == AXES[name].default) or _implied(name, record.cell):
            continue
        if not _PLAIN.fullmatch(str(value)):
            return None
        words += [AXES[name].flag, str(value)]
    steps = len(record.timing.step_s)
    words += ["--steps", str(steps)] if steps else []
    words += ["--seed", str(record.seed), "--replicate", str(record.replicate)]
    return shlex.join(words)


def _implied(name: str, cell: Cell) -> bool:
    """A checkpoint has its size and architecture with it."""
    return name == "size" and cell.model != "random"
