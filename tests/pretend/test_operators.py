"""Every operator on the device, as users call it: through torch, with the tiles of a chip.

Tests of ``gpu.forward`` and ``gpu.backward`` never meet what torch asks of an operator.
"""

import pytest

CHECK = """
import sys
import warnings
from importlib import import_module

import torch

from alignmeter_kernels import KERNELS
from alignmeter_kernels.closeness import check_kernel
from alignmeter_kernels.paths import paths_run

warnings.simplefilter("error")
for name, package in KERNELS.items():
    kernel = getattr(import_module(package), "KERNEL", None)
    if kernel is None or kernel.on_chip is None:
        continue
    for dtype in sys.argv[1:]:
        check_kernel(kernel, kernel.check, "cuda", getattr(torch, dtype))
        print(name, dtype, paths_run()[name])
"""
TRITON = ("linear_logprob", "nf4_linear", "ssd_scan", "causal_conv1d", "selective_scan")


@pytest.mark.exhaustive
@pytest.mark.parametrize("chip", ["sm_90", "gfx942"])
def test_every_operator_is_right_with_the_tiles_of(chip, pretend):
    """Outputs and every gradient against float64, each in the dtypes that models run in."""
    machine = pretend("rocm" if chip.startswith("gfx") else "cuda")
    said = machine.python(CHECK, "bfloat16", "float32", chip=chip, timeout=280).splitlines()
    wanted = [f"{name} {dtype} triton" for name in TRITON for dtype in ("bfloat16", "float32")]
    assert sorted(said) == sorted(wanted)
