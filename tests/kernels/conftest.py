"""Triton's functions run under its interpreter here, and new tensors hold NaN until written."""

import os

import pytest
import torch

# Triton reads it when a function is decorated, so it must be set before any kernel.py is imported.
# `alignmeter kernels` compiles in processes of its own, without it.
os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """An output that a kernel forgets to write would often be zero by luck: make it NaN."""

    def poison(make):
        def made(*args, **kwargs):
            tensor = make(*args, **kwargs)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))
