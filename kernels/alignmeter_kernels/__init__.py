"""Operators of the training steps, each in its folder beside the plain reference.

Imports torch (and triton) only. `KERNELS` is the registry: operator -> its folder's package.
"""

__all__ = [
    "KERNELS",
    "Nf4Weight",
    "causal_conv1d",
    "linear_logprob",
    "nf4_linear",
    "paths_run",
    "selective_scan",
    "ssd_scan",
    "token_logprob",
]

from alignmeter_kernels.causal_conv1d import causal_conv1d
from alignmeter_kernels.linear_logprob import linear_logprob
from alignmeter_kernels.nf4_linear import Nf4Weight, nf4_linear
from alignmeter_kernels.paths import paths_run
from alignmeter_kernels.selective_scan import selective_scan
from alignmeter_kernels.ssd_scan import ssd_scan
from alignmeter_kernels.token_logprob.reference import token_logprob

KERNELS: dict[str, str] = {
    "token_logprob": "alignmeter_kernels.token_logprob",
    "linear_logprob": "alignmeter_kernels.linear_logprob",
    "nf4_linear": "alignmeter_kernels.nf4_linear",
    "ssd_scan": "alignmeter_kernels.ssd_scan",
    "causal_conv1d": "alignmeter_kernels.causal_conv1d",
    "selective_scan": "alignmeter_kernels.selective_scan",
}
