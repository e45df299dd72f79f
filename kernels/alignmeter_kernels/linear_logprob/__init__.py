"""Log-probabilities of labels from hidden states and the output head."""

__all__ = ["KERNEL", "linear_logprob"]

from typing import Any

import torch

from alignmeter_kernels.inputs import Case
from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.linear_logprob import gpu
from alignmeter_kernels.linear_logprob.inputs import CASES, CHECK
from alignmeter_kernels.linear_logprob.ops import linear_logprob
from alignmeter_kernels.linear_logprob.reference import linear_logprob_reference


def _on_chip(inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
    trained = inputs["weight"].requires_grad
    logprobs, _, lse = gpu.forward(**inputs)
    gpu.backward(**inputs, lse=lse, grad=logprobs, trained=trained)


def _flops(case: Case, backward: bool) -> float:
    """One product forward; backward one for ``hidden`` and one for a trained weight."""
    (tokens, width), (vocabulary, _) = (case.tensors[n].shape for n in ("hidden", "weight"))
    products = 1 + (backward and 1 + (not case.tensors["weight"].frozen))
    return 2.0 * products * tokens * width * vocabulary


KERNEL = Kernel(
    name="linear_logprob",
    operator=linear_logprob,
    reference=linear_logprob_reference,
    check=CHECK,
    cases=CASES,
    on_chip=_on_chip,
    matmul=frozenset({"partial_softmax", "slopes"}),
    flops=_flops,
)
