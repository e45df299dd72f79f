"""Whole runs on the device: from `alignmeter run` to the report, workers and sampler included."""

import json
from itertools import product

import pytest

MIB = 2**20
SMALL = ("--seq-len", 16, "--batch", 1, "--data", "synthetic", "--steps", 1, "--warmup", 1)
CUDA = ("run", "--accelerator", "cuda")
MODELS = ("llama", "mamba", "mamba2")
MODES = ("full", "lora")


def assert_whole(record, workspace):
    """It ran, agrees with the CPU, and next to all of its peak has an owner."""
    assert record["status"] == "ok", record["reason"]
    assert record["validity"]["memory"]["ok"], record["validity"]["memory"]
    assert record["validity"]["numerics"]["ok"], record["validity"]["numerics"]
    assert record["numerics"]["agrees"] is True
    ledger, peak = record["ledger"], record["memory"]["allocated_peak_bytes"]
    assert sum(ledger.values()) == peak
    assert abs(ledger["unattributed_bytes"]) <= 0.03 * peak
    # One thread computes forward, another backward.
    assert ledger["library_workspace_bytes"] == 2 * workspace
    phases = {name: phase["peak_bytes"] for name, phase in record["phases"].items()}
    assert max(phases.values()) == phases[record["memory"]["peak_phase"]] == peak


def assert_only_children_initialised(trace, replicates):
    """The process that is asked for devices and the workers; none that started one of them."""
    lines = [line.partition(":")[0].split(" of ") for line in trace.read_text().splitlines()]
    assert len(lines) >= 1 + replicates
    assert not {pid for pid, _ in lines} & {parent for _, parent in lines}


@pytest.mark.exhaustive
def test_every_model_and_both_methods_of_the_delta(pretend, records, tmp_path):
    """Twelve cells: all ranked, and six deltas in the terminal and in the report."""
    done = pretend("cuda").alignmeter(
        *CUDA, "--method", "dpo,ppo", "--architecture", ",".join(MODELS), "--peft",
        ",".join(MODES), "--kernels", "stock", *SMALL, "--no-plan", "--out", tmp_path / "out",
        workspace=32 * MIB,
    )  # fmt: skip
    found = records(tmp_path / "out")
    assert len(found) == 12
    for record in found.values():
        assert_whole(record, 32 * MIB)
    assert "DPO versus PPO: peak memory of one step (VRAM)" in done.stdout
    rows = [line.split()[:2] for line in done.stdout.splitlines() if " separate, " in line]
    assert sorted(rows) == sorted(map(list, product(MODELS, MODES)))
    assert "saves" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.full
def test_a_plan_a_second_replicate_and_a_resumption(pretend, records, tmp_path):
    """Custom kernels. The driver is left alone by who drives workers and by their server, the
    second worker comes from that server, and the next process finds both records."""
    trace, out = tmp_path / "trace", tmp_path / "out"
    command = (
        *CUDA, "--method", "dpo", "--architecture", "llama", "--peft", "lora", *SMALL,
        "--replicates", 2, "--no-retry-invalid", "--out", out,
    )  # fmt: skip
    machine = pretend("cuda", energy=True)
    options = {"chip": "wide", "workspace": 32 * MIB, "trace": trace}
    machine.alignmeter(*command, **options)
    found = list(records(out).values())
    for record in found:
        assert_whole(record, 32 * MIB)
        measured = record["memory"]["allocated_peak_bytes"]
        assert record["memory"]["predicted_peak_bytes"] == pytest.approx(measured, rel=0.03)
        assert record["provenance"]["kernel_path"]["linear_logprob"] == "triton"
        assert record["provenance"]["kernel_path"]["attention"] == "math"
        assert record["energy"]["source"] == "counter"
        assert record["energy"]["mean_w"] == pytest.approx(300.0, rel=0.02)
    assert len(found) == 2
    # The first worker of the server computed the reference; that of the first replicate is forked.
    assert found[0]["timing"]["worker_start_s"] < 1.0
    assert_only_children_initialised(trace, 2)
    trace.unlink()
    machine.alignmeter(*command, **options)
    assert list(records(out).values()) == found
    assert len(trace.read_text().splitlines()) == 1  # no worker


CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"capacity": 542 * MIB}, "CUDA out of memory"),
        pytest.param(
            {"fail": f"aten::mm.out 40 {CUBLAS}"},
            "CUBLAS_STATUS_ALLOC_FAILED",
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["allocator", "cublas"],
)
def test_a_step_without_memory_is_a_record(options, said, pretend, records, tmp_path):
    """512 MiB are the context's."""
    pretend("cuda").alignmeter(
        *CUDA, "--method", "dpo", "--architecture", "llama", "--peft", "full", "--kernels", "stock",
        *SMALL, "--batch", 16, "--no-plan", "--out", tmp_path / "out", status=3, **options,
    )  # fmt: skip
    (record,) = records(tmp_path / "out").values()
    assert (record["status"], record["reason"]["code"]) == ("oom", "out_of_memory")
    assert said in record["reason"]["text"]


SEARCH = """
import json
import sys

from alignmeter.capacity.find import find_capacity
from alignmeter.cells.settings import Settings
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell

if __name__ == "__main__":
    planned = resolve_cell({
        "accelerator": "cuda", "method": "sft", "architecture": "llama", "peft": "full",
        "kernels": "stock", "data": "synthetic", "seq_len": 32,
    })
    settings = Settings(steps=1, warmup=1, seed=0, timeout_s=100)
    with Launcher() as launcher:
        launcher.begin_round(0)
        point = find_capacity(
            planned, "batch", memory_limit_bytes=None, settings=settings, launcher=launcher
        )
    print(json.dumps([point.largest, [(one.value, one.status) for one in point.tries]]))
"""


@pytest.mark.exhaustive
def test_a_search_ends_between_what_ran_and_what_ran_out_of_memory(pretend, tmp_path):
    program = tmp_path / "search.py"
    program.write_text(SEARCH)
    code = f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    said = pretend("cuda").python(code, capacity=560 * MIB, timeout=280)
    largest, tries = json.loads(said.splitlines()[-1])
    ended = dict(tries)
    assert ended[largest] == "ok"
    assert ended[largest + 1] == "oom"
