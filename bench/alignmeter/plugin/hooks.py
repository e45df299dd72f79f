"""pytest plugin: ``pytest --benchmark`` measures cells through pytest-benchmark.

Load it with ``-p alignmeter.plugin`` (this repository's settings do). A suite names a matrix and
asks for the fixture ``cell``::

    MATRIX = "quick"

    def bench_alignment(cell):
        cell.measure()

``largest_batch`` and ``longest_sequence`` in its place search for what fits in memory.

The run is opened as `alignmeter run` opens one: the folder is locked, a cell is planned before it
is measured and skipped where the device cannot hold it, a finished replicate is not measured again,
and the report has the timelines too.
"""

__all__: list[str] = []

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from alignmeter.errors import InputError
from alignmeter.plugin.conflicts import conflict
from alignmeter.plugin.limits import catch_signals
from alignmeter.plugin.measuring import RUN, CellChoice, Measuring, is_asked, measuring
from alignmeter.plugin.options import Asked, option, read_asked
from alignmeter.plugin.suites import HOW, SEARCHES, cell_tests, check_items, missing_matrix
from alignmeter.plugin.summary import show
from alignmeter.records.capacity import SearchedAxis, Searches
from alignmeter.runs.suites import DEFAULT, suites
from alignmeter.text import sentence

# A pytest that measures nothing should not wait for torch: what imports it is imported where it is
# used.
if TYPE_CHECKING:
    from alignmeter.plugin.capacity import CapacityBench
    from alignmeter.plugin.cells import CellBench
    from alignmeter.plugin.kernels import KernelBench
    from alignmeter.runs.opened import OpenRun

DEFAULT_SUITE = Path("suites") / f"bench_{DEFAULT}.py"
_LISTED = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly", "setupplan")
"""Options by which pytest runs no test."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Refuse what measures nothing, before a plugin takes over. Raises `pytest.UsageError`."""
    said = conflict(config) if is_asked(config) else None
    if said is not None:
        raise pytest.UsageError(said)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, open the run and choose the default suite. Raises `pytest.UsageError`."""
    if not is_asked(config):
        return
    try:
        asked = read_asked(config)
        opened = _opened(config, asked)
    except InputError as error:
        raise pytest.UsageError(sentence(str(error))) from error
    searches = Searches(folder=asked.folder, limit_bytes=asked.limit_bytes, points=opened.capacity)
    run = Measuring(asked=asked, opened=opened, searches=searches)
    config.stash[RUN] = run
    config.add_cleanup(run.finish)  # whatever kept the session from its end
    config.addinivalue_line("python_functions", "bench_*")
    if _named_nothing(config) and (config.rootpath / DEFAULT_SUITE).is_file():
        config.args = [str(config.rootpath / DEFAULT_SUITE)]


def _named_nothing(config: pytest.Config) -> bool:
    return config.args_source is not pytest.Config.ArgsSource.ARGS


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Where nothing was named and no test of the project is a benchmark: the packaged suite."""
    found = yield
    run = measuring(session.config)
    none = run is not None and not run.benchmarks and not session.testsfailed
    if none and _named_nothing(session.config):
        session.perform_collect([str(suites()[DEFAULT])])
    return found


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whether there is a benchmark at all, ours or pytest-benchmark's own."""
    run = measuring(item.config)
    if run is not None and "benchmark" in getattr(item, "fixturenames", ()):
        run.benchmarks += 1


def _opened(config: pytest.Config, asked: Asked) -> "OpenRun":
    """The run, closed when pytest ends; without its folder where tests are only listed."""
    from alignmeter.accelerators.provenance import command_line
    from alignmeter.runs.opened import OpenRun, open_run
    from alignmeter.session.launcher import Launcher

    if any(config.getoption(name, None) for name in _LISTED):
        return OpenRun(folder=asked.folder, run="", launcher=Launcher())
    command = command_line([str(argument) for argument in config.invocation_params.args])
    with ExitStack() as stack:
        opened = stack.enter_context(
            open_run(asked.folder, matrix="pytest", axes=asked.overrides, command=command)
        )
        stack.callback(catch_signals())
        config.add_cleanup(stack.pop_all().close)
    return opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per replicate of each cell of the module's ``MATRIX``."""
    cell_tests(metafunc)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests in rounds. Raises `pytest.UsageError` for what is wrong with a suite."""
    run = measuring(config)
    if run is not None:
        check_items(run, items)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What flags, matrices and data have that changes no cell, once for all suites."""
    run = measuring(config)
    return [] if run is None else [f"Note: {text}" for text in dict.fromkeys(run.ineffective)]


# pytest-benchmark knows its tests by the name of its fixture: all of ours ask for it, so that
# --benchmark-only takes them for what they are.
@pytest.fixture
def kernel_bench(request: pytest.FixtureRequest, benchmark: Any) -> "Callable[[str], KernelBench]":
    """A function of ``cpu``, ``gpu`` or ``any`` that gives the bench on the chosen device.

    Skips without ``--benchmark``, and where the row is for another kind of device.
    """
    from alignmeter.plugin.kernels import KernelBench

    run = measuring(request.config)
    if run is None:
        _skip(benchmark, HOW)
    from alignmeter.accelerators import available, missing_text, open_accelerator

    name = str(run.asked.overrides.get("accelerator", ("cpu",))[0])
    name = available()[0] if name == "auto" else name
    absent = missing_text(name)
    if absent is not None:
        _skip(benchmark, absent)
    accelerator = open_accelerator(name)

    def bench(kind: str) -> KernelBench:
        if kind != "any" and (kind == "cpu") != (accelerator.device_type == "cpu"):
            pytest.skip(f"this row is for a {kind}; choose it with --accelerator")
        return KernelBench(benchmark, run.comparisons, accelerator)

    return bench


def _skip(benchmark: Any, reason: str) -> NoReturn:
    """In a fixture: pytest-benchmark would warn that its own was not used."""
    benchmark.skipped = True
    pytest.skip(reason)


@pytest.fixture
def cell(request: pytest.FixtureRequest, benchmark: Any) -> "Iterator[CellBench]":
    """The cell that this test measures."""
    run, choice = _chosen(request, benchmark)
    from alignmeter.plugin.cells import CellBench

    plans = not option(request.config, "--no-plan")
    bench = CellBench(run, choice, benchmark, test=request.node.nodeid, plans=plans)
    yield bench
    bench.close()


def _chosen(request: pytest.FixtureRequest, benchmark: Any) -> tuple[Measuring, CellChoice]:
    """The run and the test's cell. Fails where there is none, skips without ``--benchmark``."""
    choice = getattr(request, "param", None)
    if choice is None:
        benchmark.skipped = True
        pytest.fail(missing_matrix(request), pytrace=False)
    return request.config.stash[RUN], choice


def _search(request: pytest.FixtureRequest, benchmark: Any, axis: SearchedAxis) -> "CapacityBench":
    run, choice = _chosen(request, benchmark)
    from alignmeter.plugin.capacity import CapacityBench

    launcher = run.opened.launcher
    return CapacityBench(benchmark, run.searches, choice.planned, axis, choice.settings, launcher)


@pytest.fixture
def largest_batch(request: pytest.FixtureRequest, benchmark: Any) -> "CapacityBench":
    """The search for the most pairs per step of this cell."""
    return _search(request, benchmark, SEARCHES["largest_batch"])


@pytest.fixture
def longest_sequence(request: pytest.FixtureRequest, benchmark: Any) -> "CapacityBench":
    """The search for the most tokens per sequence of this cell."""
    return _search(request, benchmark, SEARCHES["longest_sequence"])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Write the report before any other plugin ends its session, and show it whatever that does.

    A session that measured nothing has not succeeded, a report that could not be written neither.
    """
    run = measuring(session.config)
    if run is None or any(session.config.getoption(name, None) for name in _LISTED):
        return (yield)
    run.finish()
    if session.exitstatus == pytest.ExitCode.OK:
        if run.failed is not None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif run.found_nothing and not _benchmarked(session.config):
            run.nothing = True
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    try:
        return (yield)
    finally:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            show(reporter, run)


def _benchmarked(config: pytest.Config) -> bool:
    """Whether pytest-benchmark has figures of a suite without our fixtures."""
    benchmarks = getattr(getattr(config, "_benchmarksession", None), "benchmarks", [])
    return any(not found.has_error for found in benchmarks)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what was found, the DPO-vs-PPO delta first."""
    run = measuring(config)
    if run is not None:
        show(terminalreporter, run)
