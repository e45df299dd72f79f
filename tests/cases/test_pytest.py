"""`pytest --benchmark` beside what people give with it, and inside their limits (s04 to s12)."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from crossed import crossed

from alignmeter.cells.axes import AXES
from alignmeter.cells.settings import SETTINGS
from alignmeter.plugin.options import add_options
from alignmeter.records.folder import load_folders

SUITE = 'MATRIX = "{matrix}"\n\ndef bench_cells(cell):\n    cell.measure()\n'
AXES_OF_ONE = ("--method", "dpo", "--architecture", "llama", "--data", "synthetic", "--seq-len",
               "16", "--accelerator", "cpu", "--no-plan", "--results", "out")  # fmt: skip
ONE = ("--benchmark", *AXES_OF_ONE, "--peft", "lora", "--kernels", "stock", "--steps", "3")
UNSUPPORTED = ("--benchmark", *AXES_OF_ONE, "--peft", "full", "--ref", "adapter-off")
"""A cell that contradicts itself: its record needs no worker."""
STARTS = """
import time
from alignmeter.errors import CellError
from alignmeter.session import Replicate
from alignmeter.session.launcher import Launcher

Launcher.begin_round = lambda self, number: print("round", number)

def start(self):
    with self._noting_failure():
        {body}

Replicate.start = start
"""
"""A conftest in whose session no worker runs."""


@pytest.fixture
def project(pytester, monkeypatch):
    """A project with one suite, `bench_one.py`."""
    # pytest-benchmark switches itself off in a process that looks like a test worker of xdist.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin --import-mode=importlib\n"
        "python_files = bench_*.py\npython_functions = bench_*\nfilterwarnings = error\n"
    )
    (pytester.path / "bench_one.py").write_text(SUITE.format(matrix="quick"))
    return pytester


def starting(project, body):
    project.makeconftest(STARTS.format(body=body))


def records(project):
    out = project.path / "out"
    return load_folders([out]).records if out.is_dir() else []


def one_reason(project):
    (record,) = records(project)
    return record.status, record.reason.code, record.reason.text


def has_report(project):
    return all((project.path / "out" / name).is_file() for name in ("report.html", "report.csv"))


@pytest.mark.exhaustive
def test_benchmark_only_measures_replicates_in_rounds_and_none_is_replaced(project):
    given = (*ONE, "--benchmark-only", "--seq-len", "16,20", "--replicates", "2")
    result = project.runpytest_subprocess(*given, "-v", "--benchmark-json", "b.json")
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    found = records(project)
    assert sorted((r.cell.seq_len, r.replicate, r.status) for r in found) == [
        (16, 0, "ok"), (16, 1, "ok"), (20, 0, "ok"), (20, 1, "ok")
    ]  # fmt: skip
    ran = [line.split("[")[1].split("]")[0] for line in result.outlines if " PASSED" in line]
    assert [name[-3:] for name in ran] == [".r0", ".r0", ".r1", ".r1"]
    document = json.loads((project.path / "b.json").read_text())
    rows = {row["param"]: row["extra_info"] for row in document["benchmarks"]}
    assert set(rows) == set(ran) == {f"{r.cell.id}.r{r.replicate}" for r in found}
    assert all(row["replicate"] == int(name[-1]) for name, row in rows.items())
    (device,) = [d for d in document["machine_info"]["alignmeter"] if d["accelerator"] == "cpu"]
    assert device["device"] == found[0].provenance.device
    assert "driver" in device
    # Hash seeds and address layouts are those of a server: each round has its own.
    before = {path: path.read_bytes() for path in (project.path / "out").glob("*.r?.json")}
    again = project.runpytest_subprocess(*given, "-rs")
    again.assert_outcomes(skipped=4)
    assert again.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    again.stdout.fnmatch_lines(
        ["Nothing was measured (exit status 5)*",
         "*measured already: out*.r0.json; give another --results, or remove that file*"]
    )  # fmt: skip
    assert before == {path: path.read_bytes() for path in (project.path / "out").glob("*.r?.json")}
    assert has_report(project)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--benchmark-skip", "leave out --benchmark-skip"),
        ("-n 2", "leave out -n"),
        *(
            pytest.param(given, words, marks=pytest.mark.full)
            for given, words in [
                ("--benchmark-disable", "leave out --benchmark-disable"),
                ("--benchmark-disable --benchmark-only", "leave out --benchmark-disable"),
                ("-p no:benchmark", "leave out -p no:benchmark"),
                ("-n 1", "leave out -n"),
                ("--dist load --tx popen", "leave out -n"),
                ("--looponfail", "leave out --looponfail"),
                ("--replicates 0", "--replicates is 0; give at least 1"),
            ]
        ),
    ],
)
def test_what_would_measure_nothing_is_one_sentence(project, given, words):
    result = project.runpytest_subprocess(*ONE, *given.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in result.errlines if line.strip()]
    assert said.startswith("ERROR: ")
    assert words in said
    assert len(said) <= 300
    assert not (project.path / "out").exists()


def test_the_environment_of_a_test_worker_is_refused(project, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*PYTEST_XDIST_WORKER is set*unset it"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("given", "taken"),
    [
        pytest.param("--benchmark-skip --benchmark-only", 1, marks=pytest.mark.exhaustive),
        pytest.param("--benchmark-disable --benchmark-enable", 1, marks=pytest.mark.exhaustive),
        pytest.param("-n 0", 1, marks=pytest.mark.exhaustive),
        ("--replicates 3", 3),
    ],
)
def test_what_takes_back_another_option_is_no_error(project, given, taken):
    result = project.runpytest_subprocess(*ONE, *given.split(), "--collect-only", "-q")
    assert result.ret == 0
    assert sum(line.startswith("bench_one.py::") for line in result.outlines) == taken


REPEATING = """
def pytest_addoption(parser):
    parser.addoption("--{option}", type=int, default=0)
"""
REPEATED = """
import pytest

@pytest.fixture
def again(request):
    return request.param

def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("again")
    metafunc.parametrize("again", [1, 2], indirect=True)
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("option", "words"), [("count", "give --replicates 3"), ("reruns", "leave it out")]
)
def test_options_that_repeat_tests_are_refused(project, option, words):
    project.makeconftest(REPEATING.format(option=option))
    result = project.runpytest_subprocess(*ONE, f"--{option}=3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --{option} 3 would measure cells again*{words}"])
    if option == "count":
        fine = project.runpytest_subprocess(*ONE, "--count=1", "--collect-only")
        assert fine.ret == 0


@pytest.mark.full
def test_tests_that_are_repeated_by_other_means_are_refused(project):
    project.makeconftest(REPEATED)
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: bench_one.py: something repeats *; give --replicates N"])
    assert records(project) == []


@pytest.mark.exhaustive
def test_a_cell_of_two_suites_is_measured_once(project):
    (project.path / "bench_two.py").write_text(SUITE.format(matrix="quick"))
    starting(project, 'raise CellError("crashed", "exception", "of this test")')
    result = project.runpytest_subprocess(*ONE, "-rs", "bench_one.py", "bench_two.py")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*measured already, by bench_one.py::*"])
    assert one_reason(project) == ("crashed", "exception", "of this test")


@pytest.mark.full
def test_a_second_call_in_one_test_fails_and_replaces_nothing(project):
    starting(project, 'raise CellError("oom", "out_of_memory", "the first")')
    (project.path / "bench_one.py").write_text(
        'import pytest\nMATRIX = "quick"\n\ndef bench_cells(cell):\n'
        "    with pytest.raises(pytest.skip.Exception):\n        cell.measure()\n"
        "    cell.measure()\n"
    )
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*r0 was measured in this test already; --replicates N*"])
    assert one_reason(project)[2] == "the first"


@pytest.mark.exhaustive
def test_nothing_measured_is_no_success(project):
    result = project.runpytest_subprocess(*UNSUPPORTED)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["Nothing was measured (exit status 5); -rs shows why *"])
    assert [r.status for r in records(project)] == ["unsupported"]
    assert has_report(project)
    (project.path / "bench_one.py").write_text("def bench_other(benchmark):\n    benchmark(int)\n")
    assert project.runpytest_subprocess(*UNSUPPORTED).ret == 0


RAISING = {
    "first_summary": "@pytest.hookimpl(tryfirst=True)\ndef pytest_terminal_summary():\n    fail()",
    "summary_wrapper": "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
    "def pytest_terminal_summary():\n    fail()\n    yield",
    "finish": "@pytest.hookimpl(tryfirst=True)\ndef pytest_sessionfinish():\n    fail()",
    "finish_wrapper": "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
    "def pytest_sessionfinish():\n    fail()\n    yield",
}


@pytest.mark.full
@pytest.mark.parametrize(
    "hook",
    [
        "first_summary",
        *(pytest.param(h, marks=pytest.mark.exhaustive) for h in RAISING if h != "first_summary"),
    ],
)
def test_the_report_is_written_whatever_another_plugin_raises(project, hook):
    project.makeconftest(
        f"import pytest\ndef fail():\n    raise RuntimeError('of another plugin')\n{RAISING[hook]}"
    )
    result = project.runpytest_subprocess(*UNSUPPORTED)
    assert result.ret == 1
    assert "of another plugin" in result.stderr.str() + result.stdout.str()
    assert has_report(project)
    if hook != "finish_wrapper":  # nobody is asked for a summary then
        result.stdout.fnmatch_lines(["HTML  out*report.html", "CSV   out*report.csv"])
        result.stdout.fnmatch_lines(["no DPO-vs-PPO delta*"])


@pytest.mark.exhaustive
def test_a_gate_of_pytest_benchmark_that_fails_loses_no_report(project):
    project.runpytest_subprocess(*ONE, "--benchmark-save=one")
    (file,) = project.path.glob(".benchmarks/*/*.json")
    document = json.loads(file.read_text())
    stats = document["benchmarks"][0]["stats"]
    stats.update({name: stats[name] / 100 for name in ("min", "max", "mean", "median")})
    file.write_text(json.dumps(document))
    gate = ("--benchmark-compare", "--benchmark-compare-fail=median:5%", "-W", "default")
    result = project.runpytest_subprocess(*ONE, *gate, "--results", "two")
    assert result.ret == 1
    result.stderr.fnmatch_lines(["*Performance has regressed.*"])
    result.stdout.fnmatch_lines(["no DPO-vs-PPO delta*", "HTML  two*", "CSV   two*"])
    assert (project.path / "two" / "report.csv").is_file()


@pytest.mark.full
def test_a_report_that_cannot_be_written_is_no_success(project):
    starting(project, 'raise CellError("oom", "out_of_memory", "too large")')
    (project.path / "out" / "report.html").mkdir(parents=True)
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["Error: out*report.html: cannot be written: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


OUTER = "Failed: Timeout (>2.0s) from pytest-timeout."


@pytest.mark.full
@pytest.mark.parametrize("method", ["signal", pytest.param("thread", marks=pytest.mark.exhaustive)])
def test_a_time_limit_of_pytest_timeout_leaves_a_record_and_a_report(project, method):
    starting(project, "time.sleep(60)")
    result = project.runpytest_subprocess(
        *ONE, "--timeout", "2", "--timeout-method", method, timeout=50
    )
    result.assert_outcomes(failed=1)
    assert one_reason(project) == ("timeout", "outer_timeout", OUTER)
    assert has_report(project)
    result.stdout.fnmatch_lines(["HTML  out*report.html"])


@pytest.mark.exhaustive
def test_a_limit_of_the_suites_own_is_named_too(project):
    starting(project, 'raise TimeoutError("my alarm")')
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == 1
    assert one_reason(project) == ("timeout", "outer_timeout", "TimeoutError: my alarm")


@pytest.mark.full
def test_an_input_that_is_of_no_use_any_more_is_one_sentence_and_a_record(project):
    project.makeconftest(
        "from alignmeter.errors import InputError\n"
        "from alignmeter.session.launcher import Launcher\n"
        "def begin(self, number):\n    raise InputError('no worker can be started: a full disk')\n"
        "Launcher.begin_round = begin\n"
    )
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == 1
    said = "no worker can be started: a full disk"
    assert one_reason(project) == ("crashed", "input_unusable", said)
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str().split("short test summary")[0].split("FAILURES")[1]
    assert has_report(project)


@pytest.mark.full
def test_a_fault_while_a_cell_is_measured_leaves_a_record(project):
    starting(project, "return {}['of this test']")
    result = project.runpytest_subprocess(*ONE)
    assert result.ret == 1
    assert one_reason(project) == ("crashed", "exception", "KeyError: 'of this test'")
    assert has_report(project)


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGTERM, "SIGTERM ended the run while this cell was measured"),
        pytest.param(
            signal.SIGHUP,
            "SIGHUP ended the run while this cell was measured",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            signal.SIGINT,
            "Ctrl-C ended the run while this cell was measured",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_a_signal_leaves_a_record_and_a_report(project, number, text):
    starting(project, 'open("started", "w").close(); time.sleep(60)')
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *ONE],
        cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
        preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in (number, signal.SIGINT)],
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not (project.path / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(2):  # as `timeout` sends it, to the process and to its group
        os.killpg(process.pid, number)
        if number == signal.SIGINT:
            break  # a second Ctrl-C ends pytest at once, as it always does
    out, _ = process.communicate(timeout=100)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert one_reason(project) == ("crashed", "interrupted", text)
    assert has_report(project)


@pytest.mark.full
@pytest.mark.parametrize(
    "given", [("-x",), pytest.param(("--maxfail", "1"), marks=pytest.mark.exhaustive)]
)
def test_a_session_that_stops_at_a_failure_has_its_record_and_a_report(project, given):
    starting(project, 'raise CellError("crashed", "exception", "the first")')
    result = project.runpytest_subprocess(*ONE, "--seq-len", "16,20", *given)
    result.assert_outcomes(failed=1)
    assert one_reason(project) == ("crashed", "exception", "the first")
    assert has_report(project)


CONFTEST = "def pytest_addoption(parser):\n    parser.addoption({option!r}, {how})\n"


@pytest.mark.parametrize(
    *crossed(
        option=["--benchmark", "--method", "--results", "--replicates"],
        how=["action='store_true'", "dest='mine'"],
    )
)
def test_an_option_that_a_conftest_has_too_is_one_sentence(project, option, how):
    path = project.makeconftest(CONFTEST.format(option=option, how=how))
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in result.errlines if line.strip()]
    assert said.startswith(f"ERROR: {option} is an option of alignmeter and of {path}; load ")
    assert said.endswith(f"-p alignmeter.plugin.prefixed, which has it as "
                         f"--alignmeter-{option[2:]} only")  # fmt: skip


OWNERS = {
    "a loop": "def pytest_addoption(parser):\n    for name in ['mo', 'da']:\n"
    "        parser.addoption(f'--{name}' + {'mo': 'del', 'da': 'ta'}[name])\n",
    "another module": "import theirs\ndef pytest_addoption(parser):\n    theirs.add(parser)\n",
    "an object": "class Theirs:\n    def pytest_addoption(self, parser):\n"
    "        parser.addoption('--model')\n"
    "def pytest_addoption(pluginmanager):\n    pluginmanager.register(Theirs())\n",
}


@pytest.mark.parametrize(*crossed(owner=OWNERS, loaded=["by the conftest", "before"]))
def test_the_file_is_named_however_the_option_came_to_be(project, owner, loaded):
    if loaded == "by the conftest":
        project.makeini("[pytest]\n")
        path = project.makeconftest(f"pytest_plugins = ['alignmeter.plugin']\n{OWNERS[owner]}")
    else:
        path = project.makeconftest(OWNERS[owner])
    (project.path / "theirs.py").write_text("def add(parser):\n    parser.addoption('--model')\n")
    project.syspathinsert()
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in result.errlines if line.strip()]
    assert said.startswith(f"ERROR: --model is an option of alignmeter and of {path}; load ")


def test_of_a_second_spelling_that_is_taken_no_other_is_offered(project):
    path = project.makeconftest(CONFTEST.format(option="--alignmeter-seed", how="type=int"))
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --alignmeter-seed is an option of alignmeter and of {path}; call it otherwise *"]
    )


@pytest.mark.full
def test_a_value_of_a_conftest_that_is_called_as_a_flag_of_ours_is_not_ours(project):
    project.makeconftest(CONFTEST.format(option="--mine", how="dest='benchmark'"))
    project.runpytest_subprocess("--mine", "yes").assert_outcomes(skipped=1)


@pytest.mark.parametrize("order", [("other", "alignmeter.plugin"), ("alignmeter.plugin", "other")])
def test_an_option_that_another_plugin_has_too_is_one_sentence(project, order):
    project.makeini("[pytest]\npython_files = bench_*.py\n")
    path = project.path / "other.py"
    path.write_text(CONFTEST.format(option="--peft", how="action='store_true'"))
    project.syspathinsert()
    result = project.runpytest_subprocess("-p", order[0], "-p", order[1])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --peft is an option of alignmeter and of {path}; *"])


def test_a_clash_of_others_is_not_ours(project):
    project.makeconftest(CONFTEST.format(option="--maxfail", how="dest='mine'"))
    result = project.runpytest_subprocess()
    assert "alignmeter" not in result.stderr.str().splitlines()[-1]
    assert "--maxfail" in result.stderr.str()


@pytest.mark.exhaustive
def test_the_prefixed_plugin_works_beside_options_of_the_same_names(project):
    project.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin.prefixed\npython_files = bench_*.py\n"
        "python_functions = bench_*\nfilterwarnings = error\n"
    )
    names = ("--benchmark", "--method", "--results", "--replicates", "--no-plan")
    taken = "".join(f"    parser.addoption({name!r}, action='store_true')\n" for name in names)
    project.makeconftest(f"def pytest_addoption(parser):\n{taken}")
    project.runpytest_subprocess("--benchmark").assert_outcomes(skipped=1)
    prefixed = [
        f"--alignmeter-{word[2:]}" if word.startswith("--") else word for word in UNSUPPORTED
    ]
    result = project.runpytest_subprocess(*prefixed)
    result.assert_outcomes(skipped=1)
    assert [r.status for r in records(project)] == ["unsupported"]


@pytest.mark.full
def test_every_option_has_a_second_spelling_and_stands_in_the_docs(project, pytestconfig):
    names = []

    class Group:
        def addoption(self, *spellings, **_):
            assert spellings[1] == "--alignmeter-" + spellings[0].removeprefix("--")
            names.append(spellings[0])

    add_options(Group(), short=True)
    assert len(names) == len(AXES) + len(SETTINGS) + 6
    text = (pytestconfig.rootpath / "docs" / "pytest.md").read_text()
    assert [name for name in names if f"`{name}`" not in text] == []
    result = project.runpytest_subprocess(
        "--alignmeter-benchmark", *AXES_OF_ONE[:-2], "--alignmeter-results=out",
        "--alignmeter-peft=full", "--alignmeter-ref=adapter-off",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert len(records(project)) == 1


MINE = 'schema = 1\n[defaults]\ndata = "synthetic"\naccelerator = "cpu"\n[[grid]]\nmethod = "dpo"\n'


def of_suite(project, matrix, *given, where=".", more=""):
    """The session of ``suites/bench_mine.py``, which names that matrix, from another folder."""
    (project.path / "suites").mkdir(exist_ok=True)
    suite = project.path / "suites" / "bench_mine.py"
    suite.write_text(f"{more}\nMATRIX = {matrix}\n\ndef bench_x(cell):\n    cell.measure()\n")
    (project.path / "suites" / "mine.toml").write_text(MINE)
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-c", str(project.path / "tox.ini"),
         "--rootdir", str(project.path), *given, str(suite)],
        cwd=project.path / where, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(
    "where", ["/", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in (".", "suites"))]
)
def test_a_matrix_is_looked_for_beside_its_suite(project, where):
    result = of_suite(project, "'mine.toml'", "--benchmark", "--collect-only", where=where)
    assert result.returncode == 0, result.stderr
    assert "bench_x[dpo-llama-tiny-full-cpu-synthetic-" in result.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    "matrix",
    [
        "Path('mine.toml')",
        *(
            pytest.param(text, marks=pytest.mark.exhaustive)
            for text in (
                "Path(__file__).with_name('mine.toml')",
                "str(Path(__file__).parent / 'mine.toml')",
                "'../suites/mine.toml'",
            )
        ),
    ],
)
def test_a_matrix_may_be_a_path_of_any_kind(project, matrix):
    result = of_suite(
        project, matrix, "--benchmark", "--collect-only", where="/", more="from pathlib import Path"
    )
    assert result.returncode == 0, result.stderr
    assert "bench_x[dpo-llama" in result.stdout
    plain = of_suite(project, matrix, where="/", more="from pathlib import Path")
    assert "1 skipped" in plain.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ("'none.toml'", "/suites nor a packaged matrix; known: bill, capacity, delta"),
        ("3", "MATRIX is 3; write a packaged name or the path of a TOML file"),
        pytest.param("['quick']", "MATRIX is ['quick']; write", marks=pytest.mark.exhaustive),
    ],
)
def test_a_matrix_that_is_none_is_one_sentence_that_names_the_suite(project, matrix, words):
    result = of_suite(project, matrix, "--benchmark", "--results", "out")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert said.startswith("ERROR: suites/bench_mine.py: ")
    assert words in said
    assert "Traceback" not in result.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    *crossed(given=[(), ("--benchmark", "--results", "out")], fixture=["cell", "largest_batch"])
)
def test_a_suite_without_a_matrix_is_one_sentence(project, given, fixture):
    (project.path / "bench_one.py").write_text(f"def bench_x({fixture}):\n    pass\n")
    result = project.runpytest_subprocess(*given)
    result.assert_outcomes(errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [f"bench_one.py: bench_x asks for the fixture '{fixture}', but the file has no MATRIX; *"]
    )
    assert "Traceback" not in result.stdout.str()


@pytest.mark.full
def test_a_fixture_of_that_name_that_is_the_projects_own_is_left_alone(project):
    (project.path / "bench_one.py").write_text(
        "import pytest\n@pytest.fixture\ndef cell():\n    return 3\n"
        "def bench_x(cell):\n    assert cell == 3\n"
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.full
@pytest.mark.parametrize(
    "fixture",
    [
        "largest_batch",
        pytest.param("longest_sequence", marks=pytest.mark.exhaustive),
        pytest.param("kernel_bench", marks=pytest.mark.exhaustive),
    ],
)
def test_replicates_of_what_is_measured_once_are_refused(project, fixture):
    (project.path / "bench_one.py").write_text(
        f'MATRIX = "capacity"\n\ndef bench_x({fixture}):\n    pass\n'
    )
    result = project.runpytest_subprocess("--benchmark", "--replicates", "2", "--results", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: bench_one.py: {fixture} is measured once; leave out *"])


SAVED = """
import pytest
@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    hook = config.hook.pytest_benchmark_compare_machine_info
    here = {here}
    there = {there}
    hook(config=config, benchmarksession=config._benchmarksession,
         machine_info=here, compared_benchmark={{"machine_info": there}})
"""


def info(device="NVIDIA H100", driver="570.1"):
    return {"alignmeter": [
        {"accelerator": "cuda", "device": device, "driver": driver, "runtime": "12.8"}
    ]}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(
    ("there", "status", "words"),
    [
        (info("AMD MI300X"), 4, "ERROR: --benchmark-compare: the saved run has cuda AMD MI300X, "
         "this machine cuda NVIDIA H100; *"),
        pytest.param(info(driver="575.0"), 0, "--benchmark-compare: driver of the saved run cuda "
                     "575.0, of this one cuda 570.1", marks=pytest.mark.exhaustive),
        pytest.param(info(), 0, "", marks=pytest.mark.exhaustive),
    ],
)  # fmt: skip
def test_runs_of_other_devices_are_not_compared(project, there, status, words):
    project.makeconftest(SAVED.format(here=info(), there=there))
    result = project.runpytest_subprocess(*ONE, "--collect-only", "-W", "default")
    assert result.ret == status
    if words:
        result.stderr.fnmatch_lines([words])
    else:
        assert "--benchmark-compare" not in result.stderr.str()
