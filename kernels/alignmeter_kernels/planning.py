"""What operators allocate inside themselves, in sight of whoever counts: measured and planned.

A torch operator is one step to a dispatch mode, which sees neither its temporaries nor what is done
with them. Within `watching` the operators of this package run in the watcher's sight. Within
`planning` they do so on fake tensors: a fake implementation gives shapes only, so the
implementation itself takes its place, with launches and C++ calls left out, and no second
description of a kernel's temporaries could drift from the kernel.
"""

__all__ = [
    "fake",
    "is_planning",
    "operator",
    "own_tables",
    "planned_chip",
    "planning",
    "plans_triton",
    "table",
    "watching",
]

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch

_T = TypeVar("_T")


_PLANS: list[str | None] = []
"""The chip of each plan. Not a context variable: a backward pass may run in another thread."""
_WATCHERS: list[AbstractContextManager[Any]] = []

_TABLES: list[dict[tuple[object, ...], Any]] = [{}]
"""Function and device -> the table that it made."""


@contextlib.contextmanager
def planning(watcher: AbstractContextManager[Any], chip: str | None) -> Iterator[None]:
    """Within the context fake tensors take the path of ``chip``; ``None``: of a CPU."""
    _PLANS.append(chip)
    try:
        with watching(watcher):
            yield
    finally:
        _PLANS.pop()


@contextlib.contextmanager
def watching(watcher: AbstractContextManager[Any]) -> Iterator[None]:
    """Within the context ``watcher`` is entered around each operator's inside: a dispatch mode then
    sees its temporaries.
    """
    _WATCHERS.append(watcher)
    try:
        yield
    finally:
        _WATCHERS.pop()


def is_planning() -> bool:
    """Whether nothing is to be launched."""
    return bool(_PLANS)


def plans_triton() -> bool:
    """Whether the plan is for a chip that Triton functions run on."""
    return bool(_PLANS) and _PLANS[-1] is not None


def planned_chip() -> str | None:
    """The chip of the plan."""
    return _PLANS[-1] if _PLANS else None


def operator(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorates the implementation of the torch operator ``name``, which changes no argument."""

    def register(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def run(*arguments: Any) -> Any:
            if not _WATCHERS:
                return function(*arguments)
            with _WATCHERS[-1]:
                return function(*arguments)

        return torch.library.custom_op(name, mutates_args=())(run)

    return register


def fake(registered: Any) -> Callable[[Callable[..., Any]], None]:
    """Decorates the function that gives an operator's shapes; while planning the operator's own
    implementation takes its place.
    """

    def register(shapes: Callable[..., Any]) -> None:
        def chosen(*arguments: Any) -> Any:
            if not _PLANS:
                return shapes(*arguments)
            # torch keeps what `custom_op` decorated under this name (2.9 to 2.13).
            return registered._init_fn(*arguments)

        registered.register_fake(chosen)

    return register


def table(make: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """Decorates a function of a device: what it made is kept for the life of the process."""

    @functools.wraps(make)
    def kept(device: Any) -> _T:
        tables, key = _TABLES[-1], (make, device)
        if key not in tables:
            tables[key] = make(device)
        found: _T = tables[key]
        return found

    return kept


@contextlib.contextmanager
def own_tables() -> Iterator[None]:
    """Within the context tables are made anew, and go with it: without data they must not stay."""
    _TABLES.append({})
    try:
        yield
    finally:
        _TABLES.pop()
