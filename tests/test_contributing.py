"""CONTRIBUTING's examples are whole: each a new file and a row, and a cell runs with them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n# (.*?)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the sources with the new files and rows, as the environment of a process."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("bench", "kernels", "reports"):
        shutil.copytree(ROOT / folder, copy / folder)
    registry = copy / "bench" / "alignmeter" / "registry" / "__init__.py"
    for place, text in BLOCKS:
        if place.startswith("a row of "):
            (head,) = re.findall(
                rf"{place.removeprefix('a row of ')}: dict.* = {{\n", registry.read_text()
            )
            registry.write_text(registry.read_text().replace(head, f"{head}    {text}"))
        else:
            assert not (copy / place).exists()
            (copy / place).write_text(text)
    path = os.pathsep.join(str(copy / folder) for folder in ("bench", "kernels", "reports"))
    # Coverage is this project's: what the copy runs must not count.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    return copy, {**inherited, "PYTHONPATH": path}


def python(extended, code, *arguments):
    copy, environment = extended
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=environment, cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_an_example_of_each():
    rows = [place.split()[-1] for place, _ in BLOCKS if place.startswith("a row")]
    assert rows == ["METHODS", "ARCHITECTURES", "PEFT_MODES", "ACCELERATORS"]
    assert len(BLOCKS) == 2 * len(rows) + 1  # an accelerator has a second file, its telemetry


@pytest.mark.exhaustive
def test_a_cell_of_new_names_is_measured(extended, tmp_path):
    """CPO on GPT-NeoX, training norms only: nothing but the registry has heard of them."""
    code = "from alignmeter.cli import main; main()"
    out = python(
        extended, code, "cell", "--method", "cpo", "--architecture", "gpt_neox", "--peft",
        "norms", "--accelerator", "cpu", "--precision", "bf16-mixed", "--seq-len", "16", "--data",
        "synthetic", "--steps", "3", "--warmup", "1", "--out", str(tmp_path),
    )  # fmt: skip
    (record,) = records_of(extended, tmp_path)
    assert record["id"] in out
    assert record["status"] == "ok"
    assert record["agrees"] is True
    assert record["phases"] == ["forward", "backward", "optimizer"]


@pytest.mark.exhaustive
def test_the_new_method_is_the_same_in_parts_and_on_ranks(extended, tmp_path):
    """Rows of their own lengths: a mean over tokens of each part would be another one."""
    code = "from alignmeter.cli import main; main()"
    losses = []
    for number, more in enumerate(
        ([], ["--microbatches", "2"], ["--world-size", "2", "--parallel", "fsdp2"])
    ):
        folder = tmp_path / str(number)
        python(
            extended, code, "cell", "--method", "cpo", "--accelerator", "cpu", "--seq-len", "64",
            "--batch", "4", "--steps", "2", "--warmup", "1", "--data", "lengths:hh",
            "--batching", "padded", "--out", str(folder), *more,
        )  # fmt: skip
        losses += [record["losses"] for record in records_of(extended, folder)]
    assert len(losses) == 3
    for found in losses[1:]:
        assert found == pytest.approx(losses[0], rel=1e-5)


NEW_NAMES = (
    "--method", "cpo", "--architecture", "gpt_neox", "--peft", "norms,full", "--size", "tiny",
    "--accelerator", "cpu", "--seq-len", "16", "--batch", "2", "--checkpointing", "off",
    "--data", "synthetic",
)  # fmt: skip


@pytest.mark.exhaustive
def test_a_run_of_new_names_is_planned_measured_and_reported(extended, tmp_path):
    """Each surface, and FLOPs: the method and the architecture bring a count, the mode does not."""
    copy, environment = extended
    there = copy, {**environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code, folder, page = "from alignmeter.cli import main; main()", tmp_path / "run", tmp_path / "p"
    assert "cpu" in python(there, code, "devices")
    planned = python(there, code, "plan", *NEW_NAMES, "--out", str(folder))
    python(there, code, "run", *NEW_NAMES, "--steps", "3", "--warmup", "1", "--out", str(folder))
    python(there, code, "report", str(folder), "--out", f"{page}.html", "--csv", f"{page}.csv")
    records = records_of(there, folder)
    assert {record["peft"]: record["status"] for record in records} == {"norms": "ok", "full": "ok"}
    for record in records:
        assert record["predicted"] == pytest.approx(record["peak"], rel=0.01)
        for text in (planned, Path(f"{page}.html").read_text(), Path(f"{page}.csv").read_text()):
            assert record["id"] in text
    flops = {record["peft"]: (record["flops"], record["mfu_reason"]) for record in records}
    assert flops["norms"] == ([], "the FLOPs of peft norms are not counted")
    assert flops["full"][0] == ["forward", "backward"]


def records_of(extended, folder):
    """This process does not know the new names; the copy reads its own record."""
    code = (
        "import json, sys; from pathlib import Path; "
        "from alignmeter.records.folder import load_folders; "
        "print(json.dumps([{'id': r.cell.id, 'peft': r.cell.peft, 'status': r.status, "
        "'agrees': r.numerics.agrees, 'phases': list(r.phases), 'flops': [*r.throughput.flops], "
        "'mfu_reason': r.throughput.mfu_reason, 'peak': r.memory.allocated_peak_bytes, "
        "'losses': r.numerics.losses, 'predicted': r.memory.predicted_peak_bytes} "
        "for r in load_folders([Path(sys.argv[1])]).records]))"
    )
    return json.loads(python(extended, code, str(folder)))


@pytest.fixture
def chip(tmp_path):
    """What hwmon says of one device: 2 500 000 microjoules and a name, and nothing of its power."""
    folder = tmp_path / "hwmon0"
    folder.mkdir()
    (folder / "energy1_input").write_text("2500000\n")
    (folder / "name").write_text("gaudi\n")
    return folder


def test_a_new_telemetry_answers(extended, chip):
    """2 500 000 microjoules are 2.5 J; without a power file, power is missing with a reason."""
    code = (
        "import sys; from pathlib import Path; from alignmeter.telemetry.hwmon import open_hwmon; "
        "found = open_hwmon(0, Path(sys.argv[1])); sample = found.read('hwmon0'); "
        "print(found.identity('hwmon0').name, sample.energy_j, sample.missing['power_w']); "
        "print(open_hwmon(0, Path('/none')).probe().reason)"
    )
    said = python(extended, code, str(chip.parent)).splitlines()
    assert said[0].startswith("gaudi 2.5 ")
    assert said[0].endswith("power1_input is not there")
    assert said[1] == "no energy1_input under /none"


DEVICES = "from alignmeter.cli import main; main()"
DEVICES_WITH_ONE = (
    "import dataclasses, functools, sys; from pathlib import Path; "
    "from alignmeter.accelerators import hpu; from alignmeter.telemetry.hwmon import open_hwmon; "
    "here = functools.partial(open_hwmon, root=Path(sys.argv.pop())); "
    "hpu.HPU = dataclasses.replace(hpu.HPU, open_telemetry=here); "
) + DEVICES


def test_a_new_accelerator_is_listed_and_its_absence_explained(extended, tmp_path):
    assert re.search("^hpu  ", python(extended, DEVICES, "devices"), re.MULTILINE)
    found = json.loads(python(extended, DEVICES_WITH_ONE, "devices", "--json", str(tmp_path)))
    assert [row["accelerator"] for row in found] == ["hpu", "cuda", "rocm", "xpu", "cpu"]
    (absent,) = (row for row in found if row["accelerator"] == "hpu")
    assert absent["devices"] == []
    assert absent["telemetry"]["reason"] == f"no energy1_input under {tmp_path}"
    missing = "this torch has no hpu build; install Intel's build of torch for Gaudi"
    assert absent["torch_missing"] == missing


def test_a_device_of_a_new_accelerator_is_told_whole(extended, chip):
    said = " ".join(python(extended, DEVICES_WITH_ONE, "devices", str(chip.parent)).split())
    assert "hpu gaudi cannot be used this torch has no hpu build" in said
    assert "gpu counter, no power sensor" in said
    found = python(extended, DEVICES_WITH_ONE, "devices", "--json", str(chip.parent))
    (device,) = json.loads(found)[0]["devices"]
    assert device["torch"] == "hpu:0"
    assert device["sample"]["energy_j"] == 2.5


@pytest.mark.exhaustive
def test_cells_of_a_new_accelerator_are_resolved_and_planned(extended, tmp_path):
    """It need not be here for a plan; a run says what is missing."""
    copy, environment = extended
    there = copy, {**environment, "XDG_CACHE_HOME": str(tmp_path)}
    axes = ["--accelerator", "hpu", "--architecture", "llama", "--method", "sft", "--peft", "full",
            "--size", "tiny", "--seq-len", "16", "--data", "synthetic"]  # fmt: skip
    planned = python(there, DEVICES, "plan", *axes)
    assert re.search(r"^sft-llama-tiny-full-hpu.*\n  peak +[\d.]+ MiB in", planned, re.MULTILINE)
    listed = python(there, DEVICES, "run", "--dry-run", *axes)
    assert "unsupported: hpu is not on this machine (this torch has no hpu build" in listed


def test_examples_pass_the_projects_own_checks(extended):
    """Formatted, typed and linted like the code they stand beside."""
    copy, _ = extended
    shutil.copy(ROOT / "pyproject.toml", copy)
    files = [place for place, _ in BLOCKS if not place.startswith("a row")]
    for command in (["ruff", "check", *files], ["ruff", "format", "--check", *files]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", *command], cwd=copy, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
