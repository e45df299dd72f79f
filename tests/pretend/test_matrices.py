"""Whole matrices on the device, and the other vendors' devices; minutes each."""

import pytest
from test_training import SMALL, assert_whole

MIB = 2**20
TINY = ("--kernels", "stock", *SMALL, "--no-plan")


def run(machine, records, out, matrix, *axes, status=0, **options):
    """Records of the matrix on that machine, by cell and replicate."""
    machine.alignmeter(
        "run", matrix, "--accelerator", machine.kind, *TINY, *axes, "--out", out,
        status=status, timeout=1500, **options,
    )  # fmt: skip
    return records(out)


@pytest.mark.full
@pytest.mark.parametrize("matrix", ["quick", "methods", "delta"])
def test_a_packaged_matrix(matrix, pretend, records, tmp_path):
    """QLoRA by bitsandbytes' operators for any device."""
    found = run(pretend("cuda"), records, tmp_path / "out", matrix, workspace=32 * MIB)
    tried = [record for record in found.values() if record["status"] != "unsupported"]
    assert len(tried) >= 8
    for record in tried:
        assert_whole(record, 32 * MIB)


@pytest.mark.full
@pytest.mark.parametrize(("kind", "workspace"), [("rocm", 204 * MIB), ("xpu", 0)])
def test_other_vendors(kind, workspace, pretend, records, tmp_path):
    """Their names, their device files, their ways with forks: as far as it can be pretended."""
    out = tmp_path / "out"
    axes = ("--method", "dpo,ppo", "--architecture", "llama,mamba,mamba2", "--peft", "full,lora")
    found = run(pretend(kind), records, out, "quick", *axes, workspace=workspace)
    assert len(found) == 12
    for record in found.values():
        assert_whole(record, workspace)


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["mamba", "mamba2"])
def test_custom_kernels_in_whole_steps(architecture, pretend, records, tmp_path):
    """Triton's interpreter takes its time: eight tokens."""
    out = tmp_path / "out"
    pretend("cuda").alignmeter(
        "run", "--accelerator", "cuda", "--method", "dpo", "--architecture", architecture, "--peft",
        "lora", *SMALL, "--seq-len", 8, "--no-plan", "--timeout", 1000, "--out", out,
        chip="wide", workspace=32 * MIB, timeout=1200,
    )  # fmt: skip
    (record,) = records(out).values()
    assert_whole(record, 32 * MIB)
    paths = record["provenance"]["kernel_path"]
    ours = {"mamba": ("selective_scan", "causal_conv1d"), "mamba2": ("ssd_scan", "causal_conv1d")}
    assert {paths[name] for name in ours[architecture]} == {"triton"}
