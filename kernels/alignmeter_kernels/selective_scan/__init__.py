"""Mamba's selective scan."""

__all__ = ["selective_scan"]

from alignmeter_kernels.selective_scan.ops import selective_scan
