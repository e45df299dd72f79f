"""What a rollout engine is asked, by axes and by steps."""

__all__ = ["RolloutEngine", "Sampled", "Sampler"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from alignmeter.cells.cell import Cell
from alignmeter.training.rollout import Asked
from alignmeter.training.step import Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """Prompts and responses, ``ids`` [R, P+N].

    ``logprobs`` [R, N]: of the response tokens as the engine says; ``None`` where the policy itself
    samples, whose log-probs the step computes anyway.
    """

    ids: torch.Tensor
    logprobs: torch.Tensor | None = None


class Sampler(Protocol):
    """An engine at work for one step's policy. All is called without gradient, in autocast."""

    def prepare(self, policy: nn.Module, prompts: torch.Tensor, probe: Probe) -> None:
        """What has to be done once, before the first step; by default nothing.

        ``prompts`` [R, P] are of the shape of a step's, and their tokens mean nothing.
        """
        return

    def synchronise(self, policy: nn.Module, probe: Probe) -> None:
        """Give the engine the weights of now, in phases of its own; by default it reads them."""
        return

    def sample(self, policy: nn.Module, asked: Asked, probe: Probe) -> Sampled:
        """The rollout that is asked, without an early stop; ``asked.given`` only where the engine's
        ``ragged`` says so. The probe is told the tensors of the cache, and how much of them is
        used.
        """
        ...

    def held(self) -> Iterable[torch.Tensor]:
        """Tensors of the cache that stay from one rollout to the next; by default none."""
        return ()


def _nothing(_: Cell) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutEngine:
    """One value of the axis ``rollout``.

    ``ragged``: it takes prompts of several lengths. ``missing``: what to install before a cell can
    be sampled here, ``misfit``: why it never can, in words; ``None``: nothing. What is asked where
    torch is not loaded stands in its row of `registry.ROLLOUTS`.
    """

    name: str
    ragged: bool = False
    open: Callable[[Cell], Sampler]
    missing: Callable[[Cell], str | None] = _nothing
    misfit: Callable[[Cell], str | None] = _nothing
