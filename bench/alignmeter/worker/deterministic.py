"""The same bits every time, where torch has deterministic algorithms for all that a step does."""

__all__ = ["use_deterministic"]

import os

import torch

_WORKSPACES = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""cuBLAS may choose among its workspaces by what runs beside; with these it does not (NVIDIA,
cuBLAS documentation, "Results reproducibility")."""


def use_deterministic(value: str) -> None:
    """``on`` for the rest of this process: before its first product, since cuBLAS looks once.

    A step then raises `RuntimeError` at an operator that has no deterministic algorithm.
    """
    if value != "on":
        return
    for name, setting in _WORKSPACES.items():
        os.environ.setdefault(name, setting)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory finds reads of it; no operator here reads any, and it takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
