"""From a suite's ``MATRIX`` to its tests: one per replicate of each cell, in rounds."""

__all__ = ["HOW", "SEARCHES", "check_items", "cell_tests", "missing_matrix"]

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alignmeter.analysis.capacity import search_key
from alignmeter.cells.matrix import Matrix, read_matrix
from alignmeter.errors import InputError
from alignmeter.plugin.measuring import CellChoice, Measuring, measuring
from alignmeter.plugin.options import settings_for
from alignmeter.records.capacity import SearchedAxis
from alignmeter.text import sentence

if TYPE_CHECKING:  # it imports torch
    from alignmeter.session import Planned

HOW = "measures hardware; run it with `pytest --benchmark`"
SEARCHES: dict[str, SearchedAxis] = {"largest_batch": "batch", "longest_sequence": "seq_len"}
"""Fixture of a search -> the axis that it makes as large as fits."""
_ONCE = (*SEARCHES, "kernel_bench")
"""Fixtures of which there are no replicates."""


def missing_matrix(request: pytest.FixtureRequest) -> str:
    """The sentence for a test that asks for a cell where its file names no matrix."""
    return (
        f"{_shown(request.node.path)}: {request.node.name} asks for the fixture "
        f"{request.fixturename!r}, but the file has no MATRIX; write MATRIX = \"quick\", or the "
        "path of a TOML file"
    )  # fmt: skip


def cell_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its cells; one that is skipped without ``--benchmark``.

    What is wrong is kept for `check_items`: raised here, it would come with a traceback.
    """
    run = measuring(metafunc.config)
    once = [name for name in _ONCE if name in metafunc.fixturenames]
    if run is not None and run.asked.replicates > 1 and once:
        run.faults.append(
            f"{_shown(metafunc.definition.path)}: {once[0]} is measured once; leave out "
            "--replicates for this file"
        )
        return
    wanted = [name for name in ("cell", *SEARCHES) if name in metafunc.fixturenames]
    if not wanted or not hasattr(metafunc.module, "MATRIX"):
        return
    fixture, named = wanted[0], metafunc.module.MATRIX
    choices: list[Any] = [None]
    names, marks = [str(named)], [pytest.mark.skip(reason=HOW)]
    if run is not None:
        try:
            choices = _choices(metafunc, run, fixture, named)
        except InputError as error:
            run.faults.append(f"{_shown(metafunc.definition.path)}: {error}")
            return
        names, marks = [_name(choice, run.asked.replicates) for choice in choices], []
    metafunc.parametrize(
        fixture,
        [pytest.param(choice, id=name, marks=marks)
         for choice, name in zip(choices, names, strict=True)],
        indirect=True,
    )  # fmt: skip


def _name(choice: CellChoice, replicates: int) -> str:
    """As the record's file; a single replicate is named by its cell."""
    cell = choice.planned.cell.id
    return cell if replicates == 1 else f"{cell}.r{choice.replicate}"


def _choices(
    metafunc: pytest.Metafunc, run: Measuring, fixture: str, named: object
) -> list[CellChoice]:
    from alignmeter.session import plan_matrix
    from alignmeter.session.run import rounds

    matrix = _matrix(metafunc.definition.path, named)
    settings = settings_for(metafunc.config, matrix)
    asked = run.asked
    plan = plan_matrix(matrix, asked.overrides, run.ineffective.append, bad_rows=asked.bad_rows)
    if fixture in SEARCHES:  # cells that differ in the axis alone have one search between them
        return [CellChoice(planned=p, settings=settings) for p in _searched(plan, fixture)]
    jobs = chain.from_iterable(rounds(plan, run.asked.replicates, settings.seed))
    return [
        CellChoice(planned=job.planned, settings=settings, replicate=job.replicate) for job in jobs
    ]


def _searched(plan: "Sequence[Planned]", fixture: str) -> "list[Planned]":
    keyed = {search_key(p.cell, SEARCHES[fixture]): p for p in reversed(plan)}
    return list(keyed.values())[::-1]


def _matrix(suite: Path, named: object) -> Matrix:
    """The packaged matrix of that name, or the file at that path, from the suite's folder on.

    Raises `InputError`.
    """
    if not isinstance(named, str | os.PathLike):
        raise InputError(f"MATRIX is {named!r}; write a packaged name or the path of a TOML file")
    place = named if isinstance(named, str) else suite.parent / os.fspath(named)
    return read_matrix(place, suite.parent)


def _shown(path: Path) -> str:
    """Seen from the working folder, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def check_items(run: Measuring, items: list[pytest.Item]) -> None:
    """Put the tests into rounds: replicate k of every cell before k + 1 of any.

    Raises `pytest.UsageError` for what is wrong with a suite, and for a test that something else
    repeats.
    """
    if run.faults:
        raise pytest.UsageError(sentence(run.faults[0]))
    seen: set[tuple[str, object, str, int]] = set()
    for item in items:
        choice = _choice(item)
        if choice is not None:
            cell, function = choice.planned.cell.id, getattr(item, "function", None)
            key = str(item.path), getattr(function, "__qualname__", None), cell, choice.replicate
            if key in seen:
                raise pytest.UsageError(
                    f"{_shown(item.path)}: something repeats {item.name}, which would be measured "
                    "again in place of its record; give --replicates N"
                )
            seen.add(key)
    items.sort(key=lambda item: 0 if (found := _choice(item)) is None else found.replicate)


def _choice(item: pytest.Item) -> CellChoice | None:
    callspec = getattr(item, "callspec", None)
    choice = None if callspec is None else callspec.params.get("cell")
    return choice if isinstance(choice, CellChoice) else None
