"""How axes are named: in ids, in file names, in the rows of tables."""

__all__ = ["joined", "named_axes", "portable_axes"]

import re
from collections.abc import Collection, Iterator, Mapping

from alignmeter.cells.axes import AXES, HEAD, AxisValue, path_of
from alignmeter.cells.defaults import default_of

_WORDS: Mapping[str, Mapping[AxisValue, str]] = {
    "checkpointing": {"on": "gc", "off": "gc-off"},
    "data": {"synthetic": "synthetic", "packaged": "packaged", "lengths:hh": "lengths-hh"},
}
"""Axis -> its values that have a word of their own."""


def named_axes(axes: Mapping[str, AxisValue]) -> Iterator[tuple[str, AxisValue]]:
    """Those that decide an id: what every id begins with, and all that is not `Axis.omitted`."""
    for name, axis in AXES.items():
        if name in HEAD or axis.omitted is None or axes[name] != axis.omitted:
            yield name, axes[name]


def portable_axes(axes: Mapping[str, AxisValue]) -> Iterator[tuple[str, AxisValue]]:
    """The given ones without paths, for a file may lie elsewhere on another machine: its digest
    stands in for it. Of a reward in a file its function is left.
    """
    for name, value in axes.items():
        path = path_of(name, value)
        if path is None:
            yield name, value
        elif path != value:
            yield name, _function(value)


def _function(reward: AxisValue) -> str:
    """``score`` of ``rewards.py:score``."""
    return str(reward).rpartition(":")[2]


def joined(axes: Mapping[str, AxisValue], without: Collection[str] = ()) -> str:
    """``method-architecture-size-peft-accelerator``, and a slug per axis off its default.

    What is said of the axes ``without`` is left out; of ``prompt_len`` with ``seq_len``.
    """
    head = [str(axes[name]) for name in HEAD if name not in without]
    out = {*without, *(("prompt_len",) if "seq_len" in without else ())}
    slugs = [
        _slug(name, axes[name])
        for name in AXES
        if name not in HEAD
        and name not in out
        and AXES[name].slug
        and axes[name] != default_of(name, axes)
    ]
    return "-".join([*head, *slugs])


def _slug(name: str, value: AxisValue) -> str:
    if name in _WORDS:
        return _WORDS[name].get(value, "file")
    if name == "reward":
        value = _function(value)
    elif path_of(name, value) is not None:
        value = str(value).rstrip("/").rpartition("/")[2]
    text = AXES[name].slug.format(value).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text).strip("-")
