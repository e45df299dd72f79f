"""Provenance of this process."""

import sys

import msgspec
import pytest
from made_records import make_record

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.provenance import (
    collect,
    command_line,
    environment_digest_here,
    source_commit,
)
from alignmeter.records.record import decode_record
from alignmeter.registry import ACCELERATORS


def test_provenance_names_versions_device_and_commit(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("AWS_SECRET", "hidden")
    found = collect(*open_accelerator("cpu").devices(), 2)
    assert {"python", "torch", "transformers", "peft"} <= set(found.versions)
    assert found.placement["CUDA_VISIBLE_DEVICES"] == "7"
    assert not {"CUDA_VISIBLE_DEVICES", "AWS_SECRET"} & set(found.environment)
    assert found.threads == 2
    assert found.commit == source_commit()


def test_environment_digest_follows_threads_and_variables(monkeypatch):
    (device,) = open_accelerator("cpu").devices()
    before = environment_digest_here(device, 2)
    assert environment_digest_here(device, 2) == before != environment_digest_here(device, 1)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    assert environment_digest_here(device, 2) != before


PLACED = [
    # Set by hand, by Slurm, by Ray, by the vendors' containers, or by a job's prologue.
    ("CUDA_VISIBLE_DEVICES", "0", "1"),
    ("CUDA_VISIBLE_DEVICES", "GPU-aaaa", "MIG-bbbb"),
    ("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "FASTEST_FIRST"),
    ("NVIDIA_VISIBLE_DEVICES", "0", "all"),
    ("HIP_VISIBLE_DEVICES", "0", "1"),
    ("ROCR_VISIBLE_DEVICES", "0", "GPU-4f2a88c01d9e77b3"),
    ("GPU_DEVICE_ORDINAL", "0", "1"),
    ("AMD_VISIBLE_DEVICES", "0", "1"),
    ("ZE_AFFINITY_MASK", "0", "1.0"),
    ("ONEAPI_DEVICE_SELECTOR", "level_zero:0", "level_zero:1"),
    ("SYCL_DEVICE_FILTER", "level_zero:gpu:0", "level_zero:gpu:1"),
    ("TRITON_CACHE_DIR", "/scratch/job-1", "/scratch/job-2"),
    ("CUDA_CACHE_PATH", "/scratch/job-1", "/scratch/job-2"),
]
RANKS = ["LOCAL_RANK", "RANK", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_GPUS", "RAY_JOB_ID",
         "OMPI_COMM_WORLD_LOCAL_RANK", "PMI_RANK", "TORCHELASTIC_RUN_ID", "HOSTNAME"]  # fmt: skip


@pytest.mark.parametrize(("variable", "one", "other"), PLACED)
def test_which_device_a_job_was_given_is_recorded_and_no_environment(
    monkeypatch, variable, one, other
):
    """DPO on one GPU of a node and PPO on the next are a pair."""
    (device,) = open_accelerator("cpu").devices()
    monkeypatch.delenv(variable, raising=False)
    digests = {environment_digest_here(device, 2)}
    for value in (one, other):
        monkeypatch.setenv(variable, value)
        found = collect(device, 2)
        assert found.placement[variable] == value
        assert variable not in found.environment
        digests.add(found.environment_digest)
    assert len(digests) == 1


def test_what_is_placement_now_was_so_in_earlier_records(monkeypatch):
    """Schema 1 had it among the environment; reading takes out what is taken out today."""
    rows = [open_accelerator(name).visible_variables for name in ACCELERATORS]
    for variable in {*(variable for variable, *_ in PLACED), *(v for row in rows for v in row)}:
        monkeypatch.setenv(variable, "0")
    (device,) = open_accelerator("cpu").devices()
    now = collect(device, 2)
    collected = {name for name in now.placement if name.startswith(("CUDA_", "NVIDIA_", "HIP_",
                 "ROCR_", "ONEAPI_", "TORCH_", "TRITON_"))}  # fmt: skip
    assert len(collected) >= 8
    record = msgspec.to_builtins(make_record())
    record["schema_version"] = 1
    record["provenance"] = msgspec.to_builtins(now) | {
        "environment": {**now.environment, **dict.fromkeys(collected, "0")},
        "environment_digest": "of schema 1",
    }
    del record["provenance"]["placement"]
    found = decode_record(msgspec.json.encode(record), "x").provenance
    assert set(found.placement) == collected
    assert found.environment == now.environment
    assert found.environment_digest == now.environment_digest


@pytest.mark.parametrize("variable", RANKS)
def test_neither_is_its_rank_or_number(monkeypatch, variable):
    (device,) = open_accelerator("cpu").devices()
    monkeypatch.delenv(variable, raising=False)
    before = environment_digest_here(device, 2)
    monkeypatch.setenv(variable, "1")
    assert environment_digest_here(device, 2) == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
        ("TORCH_CUDNN_V8_API_DISABLED", "1"),
        ("CUDA_LAUNCH_BLOCKING", "1"),
        ("HSA_OVERRIDE_GFX_VERSION", "9.4.2"),
        ("HIP_LAUNCH_BLOCKING", "1"),
        ("OMP_PLACES", "cores"),
    ],
)
def test_what_changes_a_step_is_environment(monkeypatch, variable, value):
    (device,) = open_accelerator("cpu").devices()
    monkeypatch.delenv(variable, raising=False)
    before = environment_digest_here(device, 2)
    monkeypatch.setenv(variable, value)
    found = collect(device, 2)
    assert found.environment_digest != before
    assert found.environment[variable] == value
    assert variable not in found.placement


def test_a_command_can_be_repeated_on_another_machine(monkeypatch):
    """The program by its name, whatever folder it stands in here; quoted as a shell needs it."""
    monkeypatch.setattr(sys, "argv", ["/home/me/venv/bin/alignmeter", "run", "--out", "a run"])
    assert command_line() == "alignmeter run --out 'a run'"
    assert command_line(["suites/x.py"]) == "alignmeter suites/x.py"
    assert collect(*open_accelerator("cpu").devices(), None).command == command_line()
