"""mamba-ssm and causal-conv1d beside this project, as `tests/stubs/vendor_kernels` plays them.

transformers takes their functions when it is imported, so each question has a fresh interpreter.
"""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

pytestmark = pytest.mark.full  # each interpreter takes 10 to 20 seconds

PACKAGES = Path(__file__).parents[2] / "stubs" / "vendor_kernels"
MAMBAS = ("mamba", "mamba2", "hybrid")
METHODS = ("dpo", "ppo")
SCAN = {"mamba": "selective_scan", "mamba2": "ssd_scan", "hybrid": "ssd_scan"}
MAMBA_SSM, CAUSAL_CONV1D, TORCH = "mamba-ssm 2.3.0", "causal-conv1d 1.6.0", "transformers torch"
CODE = f"""
import json
import stub_calls
from alignmeter.accelerators.cpu import CPU
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.workload import Workload

def ran(kernels, architecture, method):
    stub_calls.CALLS.clear()
    load = Workload(resolve_cell({{
        "architecture": architecture, "method": method, "kernels": kernels, "seq_len": 16,
        "data": "synthetic", "accelerator": "cpu",
    }}).cell, 0)
    load.build()
    load.step()
    return sorted(set(stub_calls.CALLS)), load.provenance().kernel_path

found = {{}}
for setting in ("custom", "stock", "stock where they are built"):
    stub_calls.REFUSED = setting in ("custom", "stock")
    object.__setattr__(CPU, "vendor_kernels", setting != "stock")
    for architecture in {MAMBAS}:
        for method in {METHODS}:
            key = f"{{setting}} {{architecture}} {{method}}"
            found[key] = ran(setting.partition(" ")[0], architecture, method)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    """``setting architecture method`` -> functions that were called, and the record's paths."""
    path = os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kind = dict[str, tuple[list[str], dict[str, str]]]
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=kind)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", MAMBAS)
def test_custom_calls_none_of_them(found, architecture, method):
    """Forward and backward passes; for PPO also a prompt and the tokens after it, with a cache."""
    calls, paths = found[f"custom {architecture} {method}"]
    assert calls == []
    assert paths[SCAN[architecture]] in ("cpp", "torch")
    assert paths["causal_conv1d"] in ("cpp", "torch")
    assert "fused_block" not in paths


@pytest.mark.parametrize("architecture", MAMBAS)
def test_custom_names_whose_code_updates_a_state(found, architecture):
    """This project has no kernel for one token: transformers' torch code runs."""
    _, paths = found[f"custom {architecture} ppo"]
    assert (paths["state_update"], paths["convolution_update"]) == (TORCH, TORCH)
    assert "state_update" not in found[f"custom {architecture} dpo"][1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", MAMBAS)
def test_stock_calls_none_on_a_device_that_they_are_not_built_for(found, architecture, method):
    """A reference is computed on the CPU, where each of their functions raises."""
    calls, paths = found[f"stock {architecture} {method}"]
    assert calls == []
    assert (paths[SCAN[architecture]], paths["causal_conv1d"]) == (TORCH, TORCH)


@pytest.mark.parametrize("architecture", MAMBAS)
def test_stock_names_what_it_ran_elsewhere(found, architecture):
    fused = {"selective_scan": "mamba_inner_fn", "ssd_scan": "mamba_split_conv1d_scan_combined"}
    scans = {"selective_scan": "selective_scan_fn", "ssd_scan": "mamba_chunk_scan_combined"}
    kernel = SCAN[architecture]
    calls, paths = found[f"stock where they are built {architecture} ppo"]
    updates = ["causal_conv1d_update", "selective_state_update"]
    assert calls == sorted(["causal_conv1d_fn", fused[kernel], scans[kernel], *updates])
    assert paths["fused_block"] == paths[SCAN[architecture]] == paths["state_update"] == MAMBA_SSM
    assert paths["causal_conv1d"] == paths["convolution_update"] == CAUSAL_CONV1D
