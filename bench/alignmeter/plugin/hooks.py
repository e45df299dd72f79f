"""pytest plugin: ``pytest --benchmark`` measures cells through pytest-benchmark.

Load it with ``-p alignmeter.plugin`` (this repository's settings do). A suite names a matrix and
asks for the fixture ``cell``::

    MATRIX = "quick"

    def bench_alignment(cell):
        cell.measure()

``largest_batch`` and ``longest_sequence`` in its place search for what fits in memory.

The run is opened as `alignmeter run` opens one: the folder is locked, a cell is planned before it
is measured and skipped where the device cannot hold it, and the report has the timelines too. One
thing differs: nothing is resumed. pytest-benchmark's rounds are measured anew each time, and a
record of the same cell is replaced.
"""

__all__: list[str] = []

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alignmeter.analysis.capacity import search_key
from alignmeter.cells.matrix import read_matrix
from alignmeter.errors import InputError
from alignmeter.plugin.options import Asked, add_options, read_asked, settings_for
from alignmeter.records.capacity import SearchedAxis, Searches
from alignmeter.text import plain

# A pytest that measures nothing should not wait for torch: what imports it is imported where it is
# used.
if TYPE_CHECKING:
    from alignmeter.plugin.capacity import CapacityBench
    from alignmeter.plugin.cells import CellBench
    from alignmeter.plugin.kernels import KernelBench
    from alignmeter.runs.opened import OpenRun

DEFAULT_SUITE = Path("suites") / "bench_alignment.py"
_HOW = "measures hardware; run it with `pytest --benchmark`"
_SEARCHES: dict[str, SearchedAxis] = {"largest_batch": "batch", "longest_sequence": "seq_len"}
"""Fixture of a search -> the axis that it makes as large as fits."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--benchmark``, a flag per axis, and how to measure."""
    add_options(parser.getgroup("alignmeter", "alignment-training benchmarks"))


@dataclass(kw_only=True)
class _Run:
    """What one ``pytest --benchmark`` holds. ``notes``: what plans had to say.

    ``ineffective``: what of flags and matrices changes no cell.
    """

    asked: Asked
    opened: "OpenRun"
    searches: Searches
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ineffective: list[str] = field(default_factory=list)


_RUN = pytest.StashKey[_Run]()


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, open the run and choose the default suite. Raises `pytest.UsageError`."""
    if not config.getoption("benchmark"):
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--benchmark measures one cell at a time; leave out -n")
    if config.getoption("benchmark_disable", None):
        raise pytest.UsageError("--benchmark measures; leave out --benchmark-disable")
    try:
        asked = read_asked(config)
        opened = _opened(config, asked)
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    searches = Searches(folder=asked.folder, limit_bytes=asked.limit_bytes, points=opened.capacity)
    config.stash[_RUN] = _Run(asked=asked, opened=opened, searches=searches)
    named_nothing = config.args_source is not pytest.Config.ArgsSource.ARGS
    if named_nothing and (config.rootpath / DEFAULT_SUITE).is_file():
        config.args = [str(config.rootpath / DEFAULT_SUITE)]


def _opened(config: pytest.Config, asked: Asked) -> "OpenRun":
    """The run, closed when pytest ends; without its folder where tests are only listed."""
    from alignmeter.accelerators.provenance import command_line
    from alignmeter.runs.opened import OpenRun, open_run
    from alignmeter.session.launcher import Launcher

    if config.getoption("collectonly"):
        return OpenRun(folder=asked.folder, run="", launcher=Launcher())
    command = command_line([str(argument) for argument in config.invocation_params.args])
    with ExitStack() as stack:
        opened = stack.enter_context(
            open_run(asked.folder, matrix="pytest", axes=asked.overrides, command=command)
        )
        config.add_cleanup(stack.pop_all().close)
    return opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per cell of the module's ``MATRIX``; a skipped one without ``--benchmark``."""
    wanted = [name for name in ("cell", *_SEARCHES) if name in metafunc.fixturenames]
    if not wanted or not hasattr(metafunc.module, "MATRIX"):
        return
    fixture, name = wanted[0], metafunc.module.MATRIX
    run = metafunc.config.stash.get(_RUN, None)
    if run is None:
        skipped = pytest.param(None, id=name, marks=pytest.mark.skip(reason=_HOW))
        metafunc.parametrize(fixture, [skipped], indirect=True)
        return
    from alignmeter.session import plan_matrix

    try:
        matrix = read_matrix(name, Path(metafunc.module.__file__).parent)
        settings = settings_for(metafunc.config, matrix)
        asked = run.asked
        plan = plan_matrix(matrix, asked.overrides, run.ineffective.append, bad_rows=asked.bad_rows)
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    if fixture in _SEARCHES:  # cells that differ in the axis alone have one search between them
        keyed = {search_key(p.cell, _SEARCHES[fixture]): p for p in reversed(plan)}
        plan = list(keyed.values())[::-1]
    cells = [pytest.param((p, settings), id=p.cell.id) for p in plan]
    metafunc.parametrize(fixture, cells, indirect=True)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What of flags and matrices changes no cell, once for all suites."""
    run = config.stash.get(_RUN, None)
    return [] if run is None else [f"Note: {text}" for text in dict.fromkeys(run.ineffective)]


@pytest.fixture
def kernel_bench(request: pytest.FixtureRequest) -> "Callable[[str], KernelBench]":
    """A function of ``cpu``, ``gpu`` or ``any`` that gives the bench on the chosen device.

    Skips without ``--benchmark``, and where the row is for another kind of device.
    """
    from alignmeter.plugin.kernels import KernelBench

    run = request.config.stash.get(_RUN, None)
    if run is None:
        pytest.skip(_HOW)
    from alignmeter.accelerators import available, missing_text, open_accelerator

    name = str(run.asked.overrides.get("accelerator", ("cpu",))[0])
    name = available()[0] if name == "auto" else name
    absent = missing_text(name)
    if absent is not None:
        pytest.skip(absent)
    accelerator = open_accelerator(name)

    def bench(kind: str) -> KernelBench:
        if kind != "any" and (kind == "cpu") != (accelerator.device_type == "cpu"):
            pytest.skip(f"this row is for a {kind}; choose it with --accelerator")
        return KernelBench(request.getfixturevalue("benchmark"), run.comparisons, accelerator)

    return bench


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> "Iterator[CellBench]":
    """The cell that this test measures."""
    from alignmeter.plugin.cells import CellBench

    run, (planned, settings) = request.config.stash[_RUN], request.param
    if not request.config.getoption("no_plan"):
        (planned,) = run.opened.forecast([planned], run.notes.append)
    bench = CellBench(run.opened, planned, settings, request)
    yield bench
    bench.close()


def _search(request: pytest.FixtureRequest, axis: SearchedAxis) -> "CapacityBench":
    from alignmeter.plugin.capacity import CapacityBench

    run, (planned, settings) = request.config.stash[_RUN], request.param
    return CapacityBench(request, run.searches, planned, axis, settings, run.opened.launcher)


@pytest.fixture
def largest_batch(request: pytest.FixtureRequest) -> "CapacityBench":
    """The search for the most pairs per step of this cell."""
    return _search(request, "batch")


@pytest.fixture
def longest_sequence(request: pytest.FixtureRequest) -> "CapacityBench":
    """The search for the most tokens per sequence of this cell."""
    return _search(request, "seq_len")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write the report and print what is in it, the DPO-vs-PPO delta first."""
    run = config.stash.get(_RUN, None)
    if run is None:
        return
    from alignmeter.plugin.sections import write_section
    from alignmeter.terminal.capacity import capacity_parts
    from alignmeter.terminal.kernels import kernel_parts
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import Paragraph

    points, refused = run.searches.points, sorted(run.searches.refused)
    if run.comparisons:
        write_section(terminalreporter, "kernels", kernel_parts(run.comparisons))
    if points or refused:
        parts = [*map(Paragraph, refused), *(capacity_parts(points) if points else ())]
        write_section(terminalreporter, "capacity", parts)
    records = run.opened.records
    if not (records or points):
        return
    html, csv = run.opened.report()
    notes = [Paragraph(plain(note)) for note in run.notes]
    summary = [*summary_parts(records), Paragraph("")] if records else []
    write_section(terminalreporter, "alignmeter", [*notes, *summary])
    terminalreporter.write_line(f"HTML  {html}")
    terminalreporter.write_line(f"CSV   {csv}")
