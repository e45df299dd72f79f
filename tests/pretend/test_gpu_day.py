"""The GPU day from a fresh clone, on the pretended device, by the command that a GPU box gets."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
AXES = "--kernels stock --seq-len 16 --batch 1 --data synthetic --steps 1 --warmup 1"
STAGES = ("install", "facts", "checks", "quantised", "matrix", "truth", "times", "report")


def day(clone, out, machine, **options):
    """Run it with small cells and the limits of a slow machine. Kernels are not timed: nothing here
    would be, and the interpreter takes hours for a published shape."""
    given = {
        "PYTHON": sys.executable, "DAY_SIZE": "tiny", "DAY_SCALE": "6", "DAY_AXES": AXES,
        "DAY_STAGES": " ".join(stage for stage in STAGES if stage != "times"),
    }  # fmt: skip
    return subprocess.run(
        [shutil.which("bash"), "examples/gpu/day.sh", out, machine.kind], cwd=clone, text=True,
        timeout=1500, capture_output=True, env={**machine.environment(**options), **given},
    )  # fmt: skip


@pytest.fixture
def clone(tmp_path):
    """This commit, as a box gets it; PYTHONPATH of the day makes its modules the ones that run."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: a clone of one is what the day runs from")
    command = ["clone", "-q", "--depth", "1", f"file://{ROOT}", tmp_path / "clone"]
    subprocess.run([shutil.which("git"), *command], check=True)
    return tmp_path / "clone"


@pytest.mark.exhaustive
def test_what_is_not_whole_is_named_and_tried_again(clone, pretend, tmp_path):
    """A fault of the first stage that computes; stages that were done are left alone."""
    out = tmp_path / "out"
    out.mkdir()
    for stage in STAGES[2:-1]:
        (out / f"{stage}.done").touch()
    machine = pretend("cuda")
    failing = day(clone, out, machine, fail="aten::bmm.out 1 CUDA error: an illegal memory access")
    assert failing.returncode == 1, failing.stdout + failing.stderr
    assert "not whole: facts" in failing.stdout
    done = day(clone, out, machine)
    assert done.returncode == 0, done.stdout + done.stderr + (out / "facts.log").read_text()
    assert "install: done before" in done.stdout
    facts = json.loads((out / "facts.json").read_text())
    assert facts["forked"] == {"broken_by_fork": "False"}
    assert facts["device"]["chip"] == "sm_90"
    assert facts["attention"]["llama-8b"] == {"ran": "math", "same_three_times": True}
    assert facts["telemetry"]["library"].startswith("NVML")


@pytest.mark.exhaustive
def test_the_whole_day(clone, pretend, tmp_path):
    out = tmp_path / "out"
    done = day(clone, out, pretend("cuda"), chip="sm_90", workspace=32 * 2**20)
    logs = {stage: (out / f"{stage}.log") for stage in STAGES}
    said = {s: log.read_text()[-800:] for s, log in logs.items() if log.exists()}
    assert done.returncode == 0, f"{done.stdout}\n{said}"
    assert (out / "day.tgz").stat().st_size > 0
    checked = [json.loads(x) for p in out.glob("check.*.json") for x in p.read_text().splitlines()]
    assert len(checked) == 10
    assert {row["said"] for row in checked} == {"ok"}


SCRIPT = ROOT / "examples" / "gpu" / "day.sh"


def refused(tmp_path, *arguments, **variables):
    """What the command says that begins no stage. It leaves nothing where it was called."""
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        [shutil.which("bash"), SCRIPT, *arguments], cwd=here, text=True, capture_output=True,
        timeout=100, env={**os.environ, "PYTHON": sys.executable, **variables},
    )  # fmt: skip
    assert (done.returncode, done.stdout, list(here.iterdir())) == (2, "", []), done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ((), {}, "usage: bash examples/gpu/day.sh OUT"),
        (("--out", "x"), {}, "usage: bash examples/gpu/day.sh OUT"),
        (("out", "nvidia"), {}, "nvidia is none of cuda, rocm and xpu"),
        (("/proc/none",), {}, "nothing can be written to /proc/none"),
        (("{out}",), {"DAY_SCALE": "1.5"}, "DAY_SCALE=1.5 is no whole number"),
        (("{out}",), {"DAY_STAGES": "fact"}, "DAY_STAGES names fact, which is none of: install"),
    ],
)
def test_what_the_day_cannot_begin_with_is_one_sentence(tmp_path, arguments, variables, said):
    given = [word.format(out=tmp_path / "out") for word in arguments]
    assert refused(tmp_path, *given, **variables).startswith(said)


def test_a_day_that_is_asked_for_help_says_what_it_does(tmp_path):
    """It once took the word for the folder, and ran every stage."""
    for option in ("-h", "--help"):
        done = subprocess.run(
            [shutil.which("bash"), SCRIPT, option], cwd=tmp_path, text=True, capture_output=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])
        assert "bash examples/gpu/day.sh OUT [cuda|rocm|xpu]" in done.stdout
        assert "DAY_SCALE" in done.stdout


def test_a_full_disk_is_told_before_it_is_one(tmp_path):
    shim = tmp_path / "bin" / "df"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho head\necho disk 9999 9000 700 90% /\n")
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    said = refused(tmp_path, tmp_path / "out", PATH=path)
    assert said == (
        f"{tmp_path / 'out'} has 700 MiB left, and a day takes up to 1024: name a folder with more"
    )


def test_without_such_a_device_no_stage_runs(tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [shutil.which("bash"), SCRIPT, out, "xpu"], text=True, capture_output=True, timeout=200,
        env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("nothing to do here: xpu is not on this machine (")
    assert {path.name for path in out.iterdir()} == {"install.done", "install.log"}


@pytest.fixture
def listening():
    """What starts in the background ignores SIGINT, and a shell cannot trap what it began with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_day_that_is_stopped_stops(tmp_path, sent, status, listening):
    """The stage has a process group of its own, which the terminal's Ctrl-C does not reach."""
    python, began = tmp_path / "python", tmp_path / "began"
    python.write_text(f'#!/bin/sh\ncase "$*" in *missing_text*) exit 0;; esac\n'
                      f"echo $$ > {began}\nexec sleep 100\n")  # fmt: skip
    python.chmod(0o755)
    day = subprocess.Popen(
        [shutil.which("bash"), SCRIPT, tmp_path / "out"], text=True, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHON": python, "DAY_STAGES": "facts"},
    )  # fmt: skip
    until = time.monotonic() + 60
    while not (began.exists() and began.read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.02)
    day.send_signal(sent)
    said, _ = day.communicate(timeout=20)
    assert day.returncode == status
    assert "stopped; the same command goes on" in said
    with contextlib.suppress(psutil.NoSuchProcess):
        gone, left = psutil.wait_procs([psutil.Process(int(began.read_text()))], timeout=10)
        assert gone or left[0].status() == psutil.STATUS_ZOMBIE
