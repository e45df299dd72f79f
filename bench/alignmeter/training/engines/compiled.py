"""A decoding step on the cache of fixed size, compiled; where torch records graphs, replayed."""

__all__ = ["COMPILED", "CompiledSampler"]

import os
import shutil
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.cell import Cell
from alignmeter.training.engines.base import RolloutEngine, Sampled
from alignmeter.training.engines.static import (
    StaticSampler,
    aligned,
    attention_misfit,
    static_cache,
)
from alignmeter.training.rollout import Asked, cache_tensors
from alignmeter.training.step import Probe
from alignmeter_kernels.compile_time import compile_seconds, spent

_FIRST_CALLS = 3
"""That a graph takes until it is replayed: one runs, one is recorded, one shows that it stands."""


def _missing(_: Cell) -> str | None:
    """torch's compiler writes C++, for a CPU the step itself and for a GPU what launches it."""
    compiler = os.environ.get("CXX", "g++")  # as torch's own settings have it
    if shutil.which(compiler) is None:
        return f"rollout = compiled needs a C++ compiler, and there is no {compiler}; install g++"
    return None


class CompiledSampler(StaticSampler):
    """`StaticSampler` with its decoding step compiled before the first step, in phase ``compile``.

    It keeps its cache from rollout to rollout: a recorded graph reads it where it lies. A step that
    would have to be compiled again is an error, so that no timed step holds a compiler.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self._positions = aligned(max(cell.seq_len - 1, cell.prompt_len + 1 + _FIRST_CALLS))
        self._graphs = open_accelerator(cell.accelerator).records_graphs
        self._kept: Any = None
        self._compiled: Callable[..., Any] | None = None

    def prepare(self, policy: nn.Module, prompts: torch.Tensor, probe: Probe) -> None:
        """Make the cache and compile. A plan makes the cache alone."""
        super().prepare(policy, prompts, probe)
        if is_tracing():
            return
        policy.eval()
        given, at = self._given(policy), prompts.shape[1]
        policy(input_ids=prompts, **given)
        token = prompts.new_zeros(len(prompts), 1)
        self._decoded(policy, token, given, at, probe)  # operators note that they run
        self._compiled = _compile(policy, graphs=self._graphs)
        start, before = time.perf_counter(), compile_seconds() or 0.0
        with probe.phase("compile"):
            for call in range(_FIRST_CALLS):
                self._decoded(policy, token, given, at + 1 + call, probe)
        # Triton's share has told of itself.
        spent(time.perf_counter() - start - (compile_seconds() or 0.0) + before)
        policy.train()

    def sample(self, policy: nn.Module, asked: Asked, probe: Probe) -> Sampled:
        """As the protocol's."""
        with torch.compiler.set_stance("fail_on_recompile"):
            return super().sample(policy, asked, probe)

    def held(self) -> Iterable[torch.Tensor]:
        """The cache."""
        return () if self._kept is None else cache_tensors(self._kept)

    def _cache(self, policy: nn.Module) -> Any:
        """The one, emptied."""
        if self._kept is None:
            self._kept = static_cache(policy, self._positions)
        self._kept.reset()
        return self._kept

    def _called(self, policy: nn.Module, arguments: dict[str, Any], probe: Probe) -> Any:
        if self._compiled is None:
            return policy(**arguments)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # the last logits were read
        with probe.aside():
            output = self._compiled(**arguments)
        probe.owns("activations", [output.logits])
        return output


def _compile(policy: nn.Module, *, graphs: bool) -> Callable[..., Any]:
    """The policy's forward pass for one shape; nothing runs until it is called.

    ``graphs``: what ``mode="reduce-overhead"`` stands for, which cannot be said beside options. One
    thread compiles: torch's pool of processes would stay beside the timed steps.
    """
    options: dict[str, Any] = {"triton.cudagraphs": graphs, "compile_threads": 1}
    compiled: Callable[..., Any] = torch.compile(policy, dynamic=False, options=options)
    return compiled


COMPILED = RolloutEngine(
    name="compiled", open=CompiledSampler, missing=_missing, misfit=attention_misfit
)
