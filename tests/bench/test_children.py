"""Children of Python import what is installed, and end with their parent."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from alignmeter.children import safe_path

COMMAND = str(Path(sys.executable).parent / "alignmeter")
CELL = ["cell", "--accelerator", "cpu", "--data", "synthetic", "--seq-len", "16", "--steps", "1"]
KERNELS = ["kernels", "--kernels", "causal_conv1d", "--targets", "sm_90", "--dtypes", "float32"]
SPAWN = """
import multiprocessing
from alignmeter.session.launcher import Worker

if __name__ == "__main__":
    Worker(multiprocessing.get_context("spawn")).close()
"""
PEAK = (
    "from alignmeter.kernelbench import process_peak_bytes; "
    "process_peak_bytes('causal_conv1d', 'b1-d512-l1024', None)"
)
SHADOWS = ("random.py", "signal.py", "torch.py", "transformers.py", "psutil.py", "triton.py",
           "alignmeter/__init__.py", "multiprocessing/__init__.py")  # fmt: skip


@pytest.fixture
def trap(tmp_path):
    """A working directory whose files are named like libraries; one that is imported says so."""
    for name in SHADOWS:
        path = tmp_path / "trap" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write(__file__ + chr(10))\n"
            "raise ImportError('from the working directory')\n"
        )
    return tmp_path / "trap"


@pytest.mark.full
@pytest.mark.parametrize(
    "command",
    [
        pytest.param([COMMAND, *CELL], id="forkserver, resource tracker, worker and sampler"),
        pytest.param(
            [sys.executable, "-m", "alignmeter", *CELL],
            id="the command as a module",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [sys.executable, "../script.py"], id="a spawned worker", marks=pytest.mark.exhaustive
        ),
        pytest.param(
            [sys.executable, "-P", "-c", PEAK],
            id="a kernel's process",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [COMMAND, *KERNELS],
            id="compile processes",
            marks=[
                pytest.mark.skipif(find_spec("triton") is None, reason="pip install triton"),
                pytest.mark.exhaustive,
            ],
        ),
    ],
)
def test_what_lies_in_the_working_directory_is_not_imported(trap, command):
    """A console script's path begins with its own folder, and so does a script's; ``-m`` puts the
    working directory first, and the command takes it out."""
    (trap.parent / "script.py").write_text(SPAWN)
    if command[1:3] == ["-m", "alignmeter"]:  # which one that is decides Python, before any of ours
        (trap / "alignmeter" / "__init__.py").unlink()
        (trap / "alignmeter").rmdir()
    done = subprocess.run(
        command, cwd=trap, capture_output=True, text=True, timeout=280, check=False
    )
    assert not (trap.parent / "imported").exists(), (trap.parent / "imported").read_text()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("before", [None, "", "1"])
def test_the_variable_is_put_back(monkeypatch, before):
    if before is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    with pytest.raises(KeyError), safe_path():
        assert os.environ["PYTHONSAFEPATH"] == "1"
        raise KeyError
    assert os.environ.get("PYTHONSAFEPATH") == before


CHILD = """
import os, signal, sys, time
from alignmeter.children import die_with_parent

when, parent = sys.argv[1:]
if when == "deaf":
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
if when == "late":
    print("ready", flush=True)
    while os.getppid() == int(parent):
        time.sleep(0.05)
die_with_parent(int(parent))
if when != "late":
    print("ready", flush=True)
while True:
    time.sleep(1)
"""
PARENT = f"""
import os, subprocess, sys
subprocess.run([sys.executable, "-P", "-c", {CHILD!r}, sys.argv[1], str(os.getpid())])
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
@pytest.mark.parametrize("when", ["at work", "deaf", "late"])
def test_a_child_of_subprocess_ends_with_its_parent(when):
    """Also one whose parent went before it asked."""
    command = [sys.executable, "-P", "-c", PARENT, when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        children = psutil.Process(process.pid).children()
        process.kill()
    assert len(children) == 1
    assert_gone(children)


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=60)
    for process in alive:
        process.kill()
    assert alive == []


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_step_of_a_kernel_suite_ends_with_the_suite():
    """A step that would take minutes; its process may still import when the parent goes."""
    code = (
        "from alignmeter.kernelbench import bounded_step_s; "
        "bounded_step_s('dpo', 'mamba', 8192, 'transformers', 900)"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code]) as process:
        parent, children, deadline = psutil.Process(process.pid), [], time.monotonic() + 100
        while not children and time.monotonic() < deadline:
            time.sleep(0.05)
            children = parent.children()
        process.kill()
    assert len(children) == 1
    assert_gone(children)
