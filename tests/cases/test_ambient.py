"""What surrounds a command: it changes no figure, or the record says so, or one sentence does."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from alignmeter.accelerators import imported, open_accelerator, provenance
from alignmeter.accelerators.imported import (
    imported_elsewhere,
    imported_versions,
    installed_versions,
)
from alignmeter.accelerators.provenance import collect, environment_digest_here
from alignmeter.records.environment import environment_digest
from alignmeter.records.folder import load_folders

COMMAND = [sys.executable, "-P", "-m", "alignmeter"]
DRY = ["run", "quick", "--dry-run", "--accelerator", "cpu", "--method", "dpo", "--peft", "full",
       "--architecture", "llama"]  # fmt: skip
CELL = ["cell", "--accelerator", "cpu", "--data", "synthetic", "--seq-len", "16", "--steps", "1",
        "--warmup", "1"]  # fmt: skip


def called(arguments, variables=None, *, line=None, cwd=None, without=()):
    """``line`` has ``"$@"`` for the command, e.g. ``"$@" >&-``."""
    environment = {k: v for k, v in os.environ.items() if k not in without} | (variables or {})
    command = [*COMMAND, *arguments]
    if line is not None:
        command = ["/bin/sh", "-c", line, "sh", *command]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=280, check=False,
        errors="replace",
    )  # fmt: skip


@pytest.fixture
def fresh(monkeypatch):
    """Versions and places are looked up anew."""
    for function in (installed_versions, imported_elsewhere):
        function.cache_clear()
    yield monkeypatch
    for function in (installed_versions, imported_elsewhere):
        function.cache_clear()


def test_what_is_installed_is_imported_here_and_digests_are_those_of_former_records(fresh):
    (device,) = open_accelerator("cpu").devices()
    assert imported_elsewhere() == {}
    assert imported_versions() == installed_versions()
    environment = collect(device, 2).environment
    assert environment_digest_here(device, 2) == environment_digest(
        versions=installed_versions(), device=device.name, driver=None, runtime=None, threads=2,
        environment=environment,
    )  # fmt: skip


SHADOW = """
import json, sys
from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.provenance import collect
before = collect(*open_accelerator("cpu").devices(), 1).environment_digest
if sys.argv[1] == "import":
    import mamba_ssm, peft
found = collect(*open_accelerator("cpu").devices(), 1)
print(json.dumps([found.versions["peft"], found.imported, before, found.environment_digest]))
"""


@pytest.mark.parametrize("how", ["import", "do not import"])
def test_a_package_from_elsewhere_stands_in_the_record_with_file_and_version(tmp_path, how):
    """In place of what is installed (peft), and beside it (mamba_ssm has no metadata at all)."""
    for name in ("peft", "mamba_ssm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("__version__ = '99.1'\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def told(variables):
        done = subprocess.run(
            [sys.executable, "-P", "-c", SHADOW, how], capture_output=True, text=True, timeout=120,
            env=os.environ | variables, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    version, files, before, after = told({"PYTHONPATH": path})
    assert version == ("99.1" if how == "import" else "unknown")
    assert files == {
        "peft": str(tmp_path / "peft/__init__.py"),
        "mamba-ssm": str(tmp_path / "mamba_ssm/__init__.py"),
    }
    assert before == after  # the parent, which imports nothing, asks whether a record still stands
    plain = subprocess.run(
        [sys.executable, "-P", "-c",
         "from alignmeter.accelerators import open_accelerator as o\n"
         "from alignmeter.accelerators.provenance import collect\n"
         "print(collect(*o('cpu').devices(), 1).environment_digest)"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout.strip()  # fmt: skip
    assert plain != after


CHANGES = ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "KMP_BLOCKTIME", "OMP_WAIT_POLICY",
           "MKL_CBWR", "OPENBLAS_NUM_THREADS", "GOMP_CPU_AFFINITY", "MALLOC_ARENA_MAX",
           "LD_PRELOAD", "TORCHDYNAMO_DISABLE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
           "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF",
           "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_LOG_LEVEL",
           "HSA_OVERRIDE_GFX_VERSION", "ROCBLAS_LAYER", "HIPBLASLT_TENSILE_LIBPATH",
           "MIOPEN_FIND_MODE", "AMD_SERIALIZE_KERNEL", "GPU_MAX_HW_QUEUES",
           "ZE_FLAT_DEVICE_HIERARCHY", "SYCL_CACHE_PERSISTENT", "UR_L0_USE_COPY_ENGINE",
           "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONMALLOC"]  # fmt: skip
LEAVES = ["TZ", "LC_ALL", "LANG", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE",
          "PYTHONWARNINGS", "HF_HOME", "HF_HUB_OFFLINE", "TMPDIR", "HOME", "COLUMNS", "TERM",
          "NO_COLOR", "TORCHINDUCTOR_CACHE_DIR", "MIOPEN_USER_DB_PATH"]  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_a_step_makes_records_unlike(monkeypatch, name):
    (device,) = open_accelerator("cpu").devices()
    monkeypatch.delenv(name, raising=False)
    before = environment_digest_here(device, 2)
    monkeypatch.setenv(name, "1")
    assert environment_digest_here(device, 2) != before
    assert collect(device, 2).environment[name] == "1"


@pytest.mark.parametrize("name", LEAVES)
def test_what_changes_none_leaves_them_alike(monkeypatch, name):
    (device,) = open_accelerator("cpu").devices()
    before = environment_digest_here(device, 2)
    monkeypatch.setenv(name, "1")
    assert environment_digest_here(device, 2) == before


def test_a_hook_of_another_repository_and_settings_of_git_change_no_commit(monkeypatch, tmp_path):
    provenance.source_commit.cache_clear()
    plain = provenance.source_commit()
    settings = tmp_path / "gitconfig"
    settings.write_text("[color]\n\tui = always\n[diff]\n\texternal = false\n")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("HOME", str(tmp_path))
    settings.rename(tmp_path / ".gitconfig")
    provenance.source_commit.cache_clear()
    assert provenance.source_commit() == plain
    provenance.source_commit.cache_clear()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_close_nothing_else(closed):
    done = called(["devices"], line=f'"$@" {closed}')
    assert done.returncode == 0
    if closed in ("2>&-", "<&-"):
        assert "cpu " in done.stdout


@pytest.mark.full
def test_a_worker_under_closed_streams_measures_as_ever(tmp_path):
    done = called([*CELL, "--out", tmp_path], line='"$@" >&- 2>&- <&-')
    assert done.returncode == 0
    (record,) = load_folders([tmp_path]).records
    assert record.status == "ok"


def test_a_working_directory_that_is_gone_is_one_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    done = called(DRY, line=f'cd "{tmp_path}/gone" && rmdir "{tmp_path}/gone" && "$@"')
    assert done.returncode == 2
    assert done.stderr == (
        "Error: the working directory cannot be used (No such file or directory); change to one "
        "that exists\n"
    )


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_that_was_asked_for(tmp_path, mask, mode):
    from made_records import make_record

    from alignmeter.records.folder import write_record

    before = os.umask(mask)
    try:
        path = write_record(tmp_path, make_record())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


VALUES = {
    # variable -> values that people have; None: not set
    "LC_ALL": (None, "C", "tr_TR.UTF-8", "de_DE.ISO-8859-1"),
    "PYTHONUTF8": (None, "0"),
    "PYTHONCOERCECLOCALE": (None, "0"),
    "PYTHONIOENCODING": (None, "ascii"),
    "TZ": (None, "Pacific/Kiritimati", "not/a/zone"),
    "PYTHONHASHSEED": (None, "0"),
    "PYTHONWARNINGS": (None, "error"),
    "PYTHONOPTIMIZE": (None, "1"),
    "PYTHONUNBUFFERED": (None, "1"),
    "TMPDIR": (None, "/nonexistent"),
    "HF_HUB_OFFLINE": (None, "1"),
    "CUDA_VISIBLE_DEVICES": (None, "", "-1", "99", "GPU-none"),
    "HSA_OVERRIDE_GFX_VERSION": (None, "11.0.0"),
    "TORCHDYNAMO_DISABLE": (None, "1"),
    "OMP_PROC_BIND": (None, "close"),
    "MALLOC_ARENA_MAX": (None, "1"),
    "TERM": (None, "dumb"),
    "NO_COLOR": (None, "1"),
    "COLUMNS": (None, "0", "20", "x"),
}


def surroundings():
    """Every two values of any two variables together, in few rows."""
    from allpairspy import AllPairs

    return [dict(zip(VALUES, row, strict=True)) for row in AllPairs([*VALUES.values()])]


def under(arguments, row, cwd):
    given = {name: value for name, value in row.items() if value is not None}
    return called(arguments, given, cwd=cwd, without=[*VALUES, "HOME"])


@pytest.mark.exhaustive
def test_surroundings_change_no_answer(tmp_path):
    """What is planned is the same in all of a few: the others are for a longer day."""
    wanted = called(DRY, cwd=tmp_path).stdout
    for row in surroundings()[:4]:
        done = under(DRY, row, tmp_path)
        assert (done.returncode, done.stdout) == (0, wanted), (row, done.stderr)


@pytest.mark.exhaustive
def test_no_surroundings_change_an_answer_or_a_loss(tmp_path):
    wanted = called(DRY, cwd=tmp_path).stdout
    plain = called([*CELL, "--out", tmp_path / "plain"], cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    (before,) = load_folders([tmp_path / "plain"]).records
    for number, row in enumerate(surroundings()):
        done = under(DRY, row, tmp_path)
        assert (done.returncode, done.stdout) == (0, wanted), (row, done.stderr)
        assert under(["devices"], row, tmp_path).returncode == 0, row
        out = tmp_path / str(number)
        done = under([*CELL, "--out", out], row, tmp_path)
        if row["TMPDIR"] is not None and done.returncode == 2:
            assert "TMPDIR should name a folder" in done.stderr
            continue
        assert done.returncode == 0, (row, done.stderr)
        (record,) = load_folders([out]).records
        assert record.numerics.losses == before.numerics.losses, row
        assert record.memory.allocated_peak_bytes == before.memory.allocated_peak_bytes, row
        assert record.cell.id == before.cell.id
        assert record.provenance.started.endswith("+00:00")
        asked = {k: v for k, v in row.items() if v is not None} | {
            k: v for k, v in os.environ.items() if k not in VALUES}  # fmt: skip
        for name, value in record.provenance.environment.items():
            assert asked[name] == value


@pytest.mark.full
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    if os.geteuid() == 0:
        where = Path("/proc/nothing")  # root may write anywhere but there
    else:
        where = tmp_path / "locked" / "out"
        where.parent.mkdir(mode=0o500)
    done = called(["run", *DRY[1:2], *DRY[3:], "--out", str(where)])
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1


def test_packages_that_are_compared_are_those_that_are_recorded():
    assert set(imported.PACKAGES) >= set(installed_versions()) - {"python"}
