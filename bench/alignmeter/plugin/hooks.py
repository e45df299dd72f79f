"""pytest plugin: ``pytest --benchmark`` measures cells through pytest-benchmark.

Load it with ``-p alignmeter.plugin`` (this repository's settings do). A suite names a matrix and
asks for the fixture ``cell``::

    MATRIX = "quick"

    def bench_alignment(cell):
        cell.measure()

``largest_batch`` and ``longest_sequence`` in its place search for what fits in memory.
"""

__all__ = ["CellBench"]

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alignmeter.analysis.capacity import search_key
from alignmeter.capacity.limits import read_memory_limit
from alignmeter.cells.axes import AXES
from alignmeter.cells.matrix import expand, read_matrix, read_overrides
from alignmeter.errors import CellError, InputError
from alignmeter.records.capacity import SearchedAxis, Searches
from alignmeter.records.folder import Loaded, default_folder, write_record, write_run_file
from alignmeter.records.record import Record

# A pytest that measures nothing should not wait for torch: `alignmeter.session` is imported where
# it is used.
if TYPE_CHECKING:
    from alignmeter.plugin.capacity import CapacityBench
    from alignmeter.plugin.kernels import KernelBench
    from alignmeter.session import Planned, Settings
    from alignmeter.session.launcher import Launcher

DEFAULT_SUITE = Path("suites") / "bench_alignment.py"
_HOW = "measures hardware; run it with `pytest --benchmark`"
_SEARCHES: dict[str, SearchedAxis] = {"largest_batch": "batch", "longest_sequence": "seq_len"}
"""Fixture of a search -> the axis that it makes as large as fits."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--benchmark``, a flag per axis, and how to measure."""
    group = parser.getgroup("alignmeter", "alignment-training benchmarks")
    group.addoption("--benchmark", action="store_true", help="measure the cells of the suites")
    for axis in AXES.values():
        known = f" [{', '.join(axis.choices)}]" if axis.choices else ""
        text = (axis.help + known).replace("%", "%%")  # argparse formats its help texts
        group.addoption(axis.flag, dest=f"axis_{axis.name}", help=text)
    group.addoption("--steps", type=int, help="timed steps per cell (default: the matrix's)")
    group.addoption("--warmup", type=int, help="fewest warm-up steps (default: the matrix's)")
    group.addoption("--seed", type=int, default=0, help="seed of data, weights and sampling")
    group.addoption("--cell-timeout", type=float, default=600.0, help="time limit per cell, in s")
    group.addoption("--operators", action="store_true", help="profile one more step by operator")
    group.addoption("--sample-hz", type=float, default=20.0, help="telemetry readings per second")
    group.addoption("--memory-limit", help="limit of bench_capacity's searches, e.g. 512MiB")
    group.addoption("--results", type=Path, help="folder of the records and the report")


@dataclass(kw_only=True)
class _Run:
    """What one ``pytest --benchmark`` holds."""

    folder: Path
    overrides: dict[str, tuple[str | int, ...]]
    launcher: "Launcher"
    searches: Searches
    records: list[Record] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)


_RUN = pytest.StashKey[_Run]()


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and choose the default suite. Raises `pytest.UsageError`."""
    if not config.getoption("benchmark"):
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--benchmark measures one cell at a time; leave out -n")
    if config.getoption("benchmark_disable", None):
        raise pytest.UsageError("--benchmark measures; leave out --benchmark-disable")
    for option, least in (("steps", 1), ("warmup", 1), ("cell_timeout", 0), ("sample_hz", 0)):
        value = config.getoption(option)
        if value is not None and not value >= least:
            flag = option.replace("_", "-")
            raise pytest.UsageError(f"--{flag} is {value}; give at least {least}")
    from alignmeter.accelerators.provenance import command_line

    try:
        flags = {name: config.getoption(f"axis_{name}") for name in AXES}
        overrides = read_overrides(flags)
        limit = config.getoption("memory_limit")
        limit_bytes = None if limit is None else read_memory_limit(limit)
        folder = config.getoption("results") or default_folder()
        command = command_line([str(argument) for argument in config.invocation_params.args])
        if not config.getoption("collectonly"):
            write_run_file(folder, "pytest", overrides, command)
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    from alignmeter.session.launcher import Launcher

    searches = Searches(folder=folder, limit_bytes=limit_bytes)
    run = _Run(folder=folder, overrides=overrides, launcher=Launcher(), searches=searches)
    config.stash[_RUN] = run
    named_nothing = config.args_source is not pytest.Config.ArgsSource.ARGS
    if named_nothing and (config.rootpath / DEFAULT_SUITE).is_file():
        config.args = [str(config.rootpath / DEFAULT_SUITE)]


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
    from alignmeter.session import Settings, resolve_plan

    try:
        matrix = read_matrix(name)
        plan = resolve_plan(expand(matrix, run.overrides))
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    option = metafunc.config.getoption
    settings = Settings(
        steps=option("steps") or matrix.steps,
        warmup=option("warmup") or max(matrix.warmup, 1),
        seed=option("seed"),
        timeout_s=option("cell_timeout"),
        operators=option("operators") or matrix.operators,
        sample_hz=option("sample_hz"),
    )
    if fixture in _SEARCHES:  # cells that differ in the axis alone have one search between them
        keyed = {search_key(p.cell, _SEARCHES[fixture]): p for p in reversed(plan)}
        plan = list(keyed.values())[::-1]
    cells = [pytest.param((p, settings), id=p.cell.id) for p in plan]
    metafunc.parametrize(fixture, cells, indirect=True)


class CellBench:
    """One cell under pytest-benchmark: a round of `pedantic` is a step asked of the worker."""

    def __init__(
        self, run: _Run, planned: "Planned", settings: "Settings", request: pytest.FixtureRequest
    ) -> None:
        from alignmeter.session import Replicate

        self._run, self._settings = run, settings
        self._benchmark: Any = request.getfixturevalue("benchmark")
        run.launcher.begin_round(0)
        self._replicate = Replicate(
            planned=planned, index=0, settings=settings, launcher=run.launcher
        )

    def measure(self) -> Record:
        """Build, warm up, time the steps and store the record.

        An unsupported cell or one out of memory is a skip with its reason, a crash or a time-out a
        failure. The benchmark's ``extra_info`` holds ``step_s`` as the worker timed it; the mean
        that pytest-benchmark prints is the round trip.
        """
        try:
            self._replicate.start()
            self._benchmark.pedantic(
                self._replicate.step, rounds=self._settings.steps, iterations=1, warmup_rounds=0
            )
        except CellError as failure:
            self._store()
            reported = f"{failure.status}: {failure.text}"
            if failure.status in ("unsupported", "oom"):
                pytest.skip(reported)
            pytest.fail(reported, pytrace=False)
        record = self._store()
        self._benchmark.extra_info.update(
            cell=record.cell.id,
            status=record.status,
            step_s=record.timing.step_s,
            allocated_peak_bytes=record.memory.allocated_peak_bytes,
            memory_kind=record.memory.kind,
        )
        return record

    def _store(self) -> Record:
        finished = self._replicate.finish()
        record = finished.record
        write_record(self._run.folder, record, finished.timeline)
        self._run.records.append(record)
        return record

    def close(self) -> None:
        """End the worker if the measuring was cut short."""
        self._replicate.close()


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

    name = str(run.overrides.get("accelerator", ("cpu",))[0])
    name = available()[0] if name == "auto" else name
    absent = missing_text(name)
    if absent is not None:
        pytest.skip(absent)
    device = open_accelerator(name).device_type

    def bench(kind: str) -> KernelBench:
        if kind != "any" and (kind == "cpu") != (device == "cpu"):
            pytest.skip(f"this row is for a {kind}; choose it with --accelerator")
        return KernelBench(request.getfixturevalue("benchmark"), run.comparisons, device)

    return bench


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[CellBench]:
    """The cell that this test measures."""
    planned, settings = request.param
    bench = CellBench(request.config.stash[_RUN], planned, settings, request)
    yield bench
    bench.close()


def _search(request: pytest.FixtureRequest, axis: SearchedAxis) -> "CapacityBench":
    from alignmeter.plugin.capacity import CapacityBench

    run, (planned, settings) = request.config.stash[_RUN], request.param
    return CapacityBench(request, run.searches, planned, axis, settings, run.launcher)


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
    if not (run.records or points):
        return
    from alignmeter_reports import write_report

    html, csv = run.folder / "report.html", run.folder / "report.csv"
    write_report(Loaded(records=run.records, refused=[], capacity=points), html, csv)
    summary = [*summary_parts(run.records), Paragraph("")] if run.records else []
    write_section(terminalreporter, "alignmeter", summary)
    terminalreporter.write_line(f"HTML  {html}")
    terminalreporter.write_line(f"CSV   {csv}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the forkserver."""
    run = config.stash.get(_RUN, None)
    if run is not None:
        run.launcher.close()
