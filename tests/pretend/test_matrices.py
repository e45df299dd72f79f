"""Whole matrices on the device, and the other vendors' devices; minutes each."""

import json

import pytest
from test_training import SMALL, assert_whole

from alignmeter.registry import ARCHITECTURES

MIB = 2**20
TINY = ("--kernels", "stock", *SMALL, "--no-plan")


def run(machine, records, out, matrix, *axes, status=0, **options):
    """Records of the matrix on that machine, by cell and replicate."""
    machine.alignmeter(
        "run", matrix, "--accelerator", machine.kind, *TINY, *axes, "--out", out,
        status=status, timeout=1500, **options,
    )  # fmt: skip
    return records(out)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("matrix", "models"),
    [("quick", "llama,mamba"), ("methods", "llama,mamba"), ("delta", "mamba2")],
)
def test_a_packaged_matrix(matrix, models, pretend, records, tmp_path):
    """QLoRA by bitsandbytes' operators for any device."""
    axes = ("--architecture", models)
    found = run(pretend("cuda"), records, tmp_path / "out", matrix, *axes, workspace=32 * MIB)
    tried = [record for record in found.values() if record["status"] != "unsupported"]
    assert len(tried) >= 8
    for record in tried:
        assert_whole(record, 32 * MIB)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "workspace", "models"), [("rocm", 204 * MIB, "llama,mamba2"), ("xpu", 0, "llama")]
)
def test_other_vendors(kind, workspace, models, pretend, records, tmp_path):
    """Their names, their device files, their ways with forks: as far as it can be pretended. XPU's
    workers are spawned, and each imports for itself."""
    out = tmp_path / "out"
    axes = ("--method", "dpo,ppo", "--architecture", models, "--peft", "lora")
    found = run(pretend(kind), records, out, "quick", *axes, workspace=workspace)
    assert len(found) == 2 * len(models.split(","))
    for record in found.values():
        assert_whole(record, workspace)


CUSTOM = """
import json
import sys
import warnings

warnings.simplefilter("ignore")
import alignmeter.worker.preload
from alignmeter.session.findings.bands import compare
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.agreement import is_rounded, make_reference
from alignmeter.worker.workload import Workload
from alignmeter_kernels.paths import paths_run

for method in sys.argv[2].split(","):
    for peft in sys.argv[3].split(","):
        cell = resolve_cell({
            "accelerator": "cuda", "method": method, "architecture": sys.argv[1], "peft": peft,
            "size": "tiny", "data": "synthetic", "seq_len": 8, "batch": 1, "kernels": "custom",
        }).cell
        layers = int(sys.argv[4])
        reference = make_reference(cell, 0, layers, is_rounded(cell))
        observed = Workload(cell, 0).sliced_agreement(layers, reference.rollouts)
        signals = compare(observed.signals, reference, cell)
        agreed = [signal.name for signal in signals if signal.agrees]
        apart = [signal.name for signal in signals if not signal.agrees]
        print(json.dumps([method, peft, agreed, apart, observed.silent_adapters, paths_run()]))
"""
OURS = {
    "llama": {"linear_logprob"},
    "mamba": {"linear_logprob", "selective_scan", "causal_conv1d"},
    "mamba2": {"linear_logprob", "ssd_scan", "causal_conv1d"},
    "hybrid": {"linear_logprob", "ssd_scan", "causal_conv1d"},
}
CELLS = {
    "llama": ("dpo,ppo", "full,lora"), "mamba": ("dpo", "lora"), "mamba2": ("dpo", "lora"),
    "hybrid": ("dpo", "lora"),
}  # fmt: skip
"""Methods and PEFT modes: a scan takes the interpreter a minute."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("architecture", OURS)
def test_custom_kernels_train_as_the_cpu_does(architecture, pretend):
    """The optimisation steps of the agreement check through autograd, one layer of each kind."""
    machine, cells = pretend("cuda"), CELLS[architecture]
    layers = 2 if ARCHITECTURES[architecture].hybrid else 1
    said = machine.python(CUSTOM, architecture, *cells, layers, chip="wide", timeout=1000)
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    methods, modes = (names.split(",") for names in cells)
    assert [row[:2] for row in rows] == [[m, p] for m in methods for p in modes]
    for *_, agreed, apart, silent, paths in rows:
        assert {"loss", "grad_norm"} <= {*agreed}
        assert apart == silent == []
        assert {paths[name] for name in OURS[architecture]} == {"triton"}
