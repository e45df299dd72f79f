"""The GPU day from a fresh clone, on the pretended device, by the command that a GPU box gets."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.full
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


@pytest.mark.full
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
