"""Log-probabilities of labels from hidden states and the output head."""

__all__ = ["linear_logprob"]

from alignmeter_kernels.linear_logprob.ops import linear_logprob
