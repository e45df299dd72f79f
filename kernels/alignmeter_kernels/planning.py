"""Operators on fake tensors that allocate what they would allocate: how memory is planned.

A torch operator is one step to whoever watches allocations, and its fake implementation gives
shapes only. Within `planning` the fake implementation is the implementation itself, on fake tensors
and in sight of the watcher, with launches and C++ calls left out: no second description of a
kernel's temporaries could drift from the kernel.
"""

__all__ = [
    "fake",
    "is_planning",
    "own_tables",
    "planned_chip",
    "planning",
    "plans_triton",
    "table",
]

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    watcher: AbstractContextManager[Any]
    chip: str | None


_PLANS: list[_Plan] = []
"""Not a context variable: a backward pass may run in another thread."""

_TABLES: list[dict[tuple[object, ...], Any]] = [{}]
"""Function and device -> the table that it made."""


@contextlib.contextmanager
def planning(watcher: AbstractContextManager[Any], chip: str | None) -> Iterator[None]:
    """Within the context fake tensors take the path of ``chip``; ``None``: of a CPU.

    ``watcher``: entered around each operator's inside; a dispatch mode sees its temporaries.
    """
    _PLANS.append(_Plan(watcher=watcher, chip=chip))
    try:
        yield
    finally:
        _PLANS.pop()


def is_planning() -> bool:
    """Whether nothing is to be launched."""
    return bool(_PLANS)


def plans_triton() -> bool:
    """Whether the plan is for a chip that Triton functions run on."""
    return bool(_PLANS) and _PLANS[-1].chip is not None


def planned_chip() -> str | None:
    """The chip of the plan."""
    return _PLANS[-1].chip if _PLANS else None


def fake(operator: Any) -> Callable[[Callable[..., Any]], None]:
    """Decorates the function that gives an operator's shapes; while planning the operator's own
    implementation takes its place.
    """

    def register(shapes: Callable[..., Any]) -> None:
        def chosen(*arguments: Any) -> Any:
            if not _PLANS:
                return shapes(*arguments)
            with _PLANS[-1].watcher:
                # torch keeps what `custom_op` decorated under this name (2.9 to 2.13).
                return operator._init_fn(*arguments)

        operator.register_fake(chosen)

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
