"""What has to be different for a step to run on tensors without data, and nothing else."""

__all__ = ["pretending"]

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from alignmeter.methods import ppo
from alignmeter.peft import nf4
from alignmeter.training.rollout import first_and_last_token
from alignmeter_kernels.nf4_linear import gpu, portable


@contextlib.contextmanager
def pretending(accelerator: str) -> Iterator[FakeTensorMode]:
    """Within the context models are built and steps run without data and without memory."""
    with (
        mock.patch.object(nn.Module, "_apply", _apply_to_copies),
        _one_sequence_per_row(),
        _pretended_nf4(),
        _tables_of_its_own(),
        first_and_last_token(),
        mock.patch.object(ppo, "gae", _gae_at_once),
        _pretended_rng_state() if accelerator == "cpu" else contextlib.nullcontext(),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
    ):
        yield mode


def _apply_to_copies(
    self: nn.Module, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> nn.Module:
    """``nn.Module._apply`` without swapping a tensor's inside, which fake tensors refuse.

    What ``fn`` changes is replaced, a tied weight once for all its places.
    """
    replaced: dict[int, nn.Parameter] = {}
    for module in self.modules() if recurse else [self]:
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in replaced:
                with torch.no_grad():
                    made = fn(parameter)
                same = made.dtype == parameter.dtype and made.device == parameter.device
                replaced[id(parameter)] = (
                    parameter if same else nn.Parameter(made, requires_grad=parameter.requires_grad)
                )
            module._parameters[name] = replaced[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fn(buffer)
    return self


@contextlib.contextmanager
def _one_sequence_per_row() -> Iterator[None]:
    """transformers looks at position ids for several sequences in a row; ours never have them.

    On fake tensors it cannot look, and would keep a mask of all pairs of tokens.
    """
    masking = import_module("transformers.masking_utils")
    name = "find_packed_sequence_indices"
    if not hasattr(masking, name):
        yield
        return
    with mock.patch.object(masking, name, _ignore):
        yield


@contextlib.contextmanager
def _tables_of_its_own() -> Iterator[None]:
    """Tables that kernels keep for the life of a process: without data they must not outlive us."""
    with (
        mock.patch.object(portable, "_pairs", cache(portable._pairs.__wrapped__)),
        mock.patch.object(gpu, "_codes", cache(gpu._codes.__wrapped__)),
    ):
        yield


def _gae_at_once(
    rewards: torch.Tensor, values: torch.Tensor, **_: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `gae` returns, without its loop over the tokens, whose temporaries are [rows]."""
    return torch.empty_like(rewards), torch.empty_like(values)


def _ignore(*_: object, **__: object) -> None:
    """In place of a mock, which would keep the tensors that it is called with alive."""


@contextlib.contextmanager
def _pretended_rng_state() -> Iterator[None]:
    """A checkpointed block keeps the CPU's generator state, which no operator makes."""
    size = torch.get_rng_state().numel()

    def state() -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)

    with (
        mock.patch.object(torch, "get_rng_state", state),
        mock.patch.object(torch, "set_rng_state", _ignore),
    ):
        yield


@contextlib.contextmanager
def _pretended_nf4() -> Iterator[None]:
    """bitsandbytes reads values while it quantises: give its layers the tensors that result."""
    with mock.patch.object(nf4, "_packed", _packed_without_data):
        yield


def _packed_without_data(linear: nn.Linear, compute: torch.dtype, kernels: str) -> nn.Module:
    """A layer of the class that the step uses, with storage of the exact size."""
    from bitsandbytes.nn.modules import Linear4bit

    kind: type[nn.Module] = nf4._custom_layer() if kernels == "custom" else Linear4bit
    packed: Any = kind.__new__(kind)
    nn.Module.__init__(packed)
    packed.in_features, packed.out_features = linear.in_features, linear.out_features
    packed.bias = linear.bias
    packed.compute_dtype, packed.compute_type_is_set = compute, True
    packed.quant_state = packed.quant_storage = None
    packed.support_avx512bf16_for_cpu = False
    elements = linear.weight.numel()
    data = torch.empty(-(-elements // 2), 1, dtype=torch.uint8)
    weight: Any = nn.Parameter(data, requires_grad=False)
    weight.quant_state = _quant_state(linear.weight.shape, linear.weight.dtype)
    weight.quant_type, weight.blocksize, weight.compress_statistics = "nf4", nf4.BLOCKSIZE, True
    weight.bnb_quantized = True
    packed.weight = weight
    return packed  # type: ignore[no-any-return]


def _quant_state(shape: torch.Size, dtype: torch.dtype) -> Any:
    """Double quantisation: a byte per block of 64 weights, a float per 256 blocks, two tables."""
    from bitsandbytes.functional import QuantState

    blocks = -(-shape.numel() // nf4.BLOCKSIZE)
    nested = QuantState(
        absmax=torch.empty(-(-blocks // 256)),
        blocksize=256,
        code=torch.empty(256),
        dtype=torch.float32,
    )
    return QuantState(
        absmax=torch.empty(blocks, dtype=torch.uint8),
        shape=shape,
        dtype=dtype,
        blocksize=nf4.BLOCKSIZE,
        code=torch.empty(16),
        quant_type="nf4",
        offset=torch.empty(()),
        state2=nested,
    )
