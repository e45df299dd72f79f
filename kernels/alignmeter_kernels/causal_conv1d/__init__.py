"""Causal depthwise convolution with SiLU."""

__all__ = ["causal_conv1d"]

from alignmeter_kernels.causal_conv1d.ops import causal_conv1d
