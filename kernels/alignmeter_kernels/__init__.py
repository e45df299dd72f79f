"""Operators of the training steps, each in its folder beside the plain reference.

They import torch (and triton) only, this registry nothing: operator -> its folder's package.
"""

__all__ = ["KERNELS", "compilable"]

from pathlib import Path

KERNELS: dict[str, str] = {
    "token_logprob": "alignmeter_kernels.token_logprob",
    "linear_logprob": "alignmeter_kernels.linear_logprob",
    "nf4_linear": "alignmeter_kernels.nf4_linear",
    "ssd_scan": "alignmeter_kernels.ssd_scan",
    "causal_conv1d": "alignmeter_kernels.causal_conv1d",
    "selective_scan": "alignmeter_kernels.selective_scan",
}


def compilable() -> dict[str, str]:
    """Those with Triton functions, which are in a folder's ``gpu.py``: name -> package."""
    folder = Path(__file__).parent
    return {name: row for name, row in KERNELS.items() if (folder / name / "gpu.py").is_file()}
