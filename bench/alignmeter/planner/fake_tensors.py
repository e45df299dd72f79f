"""What has to be different for a step to run on tensors without data, and nothing else.

What a method, a PEFT mode or the rollout does without data stands with it: it asks `is_tracing`.
"""

__all__ = ["without_data"]

import contextlib
from collections.abc import Iterator

import torch

from alignmeter.architectures.tracing import tracing
from alignmeter.architectures.transformers_internals import one_sequence_per_row
from alignmeter.worker.memory.torch_internals import (
    FakeTensorMode,
    applied_to_copies,
    generator_states,
    grouped_products,
    native_dropout,
)
from alignmeter_kernels.planning import own_tables


@contextlib.contextmanager
def without_data(accelerator: str) -> Iterator[FakeTensorMode]:
    """Within the context models are built and steps run without data and without memory."""
    with (
        applied_to_copies(),
        grouped_products(),
        one_sequence_per_row(),
        own_tables(),
        tracing(),
        _states_of_no_generator() if accelerator == "cpu" else native_dropout(),
        FakeTensorMode(allow_non_fake_inputs=True) as mode,
    ):
        yield mode


@contextlib.contextmanager
def _states_of_no_generator() -> Iterator[None]:
    """A checkpointed block keeps the CPU's generator state, which no operator makes."""
    size = torch.get_rng_state().numel()

    def state() -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def ignored(_: torch.Tensor) -> None:
        """There is no generator to restore."""

    with generator_states(state, ignored):
        yield
