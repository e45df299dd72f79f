"""Operators of the training steps, each in its folder beside the plain reference.

Imports torch (and triton) only. `KERNELS` is the registry: operator -> its folder's package.
"""

__all__ = ["KERNELS", "token_logprob"]

from alignmeter_kernels.token_logprob.reference import token_logprob

KERNELS: dict[str, str] = {
    "token_logprob": "alignmeter_kernels.token_logprob",
}
