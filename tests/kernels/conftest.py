"""Triton's interpreter, lightened; new tensors hold NaN until they are written."""

import interpreter
import pytest
import torch
import triton.runtime.interpreter

interpreter.lighten(triton.runtime.interpreter)


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
