"""What a method promises, and what it tells the harness while it runs."""

__all__ = [
    "Method",
    "Outcome",
    "Probe",
    "SilentProbe",
    "TrainingStep",
    "descend",
    "stepped",
]

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from alignmeter.batches import Batch, BatchRows, BatchSource
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally
from alignmeter.training.setup import Setup


class Probe(Protocol):
    """How a step reports its phases and the owners of tensors that only it knows."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Everything inside belongs to the phase ``name``; phases do not nest."""
        ...

    def owns(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """These tensors are the ledger's ``owner`` (one of `alignmeter.records.record.OWNERS`)."""
        ...

    def uses(self, owner: str, nbytes: Iterable[int], *, beside: int = 0) -> None:
        """Of what that owner has reserved now, the sum of ``nbytes`` holds something.

        ``beside``: bytes that it has reserved without a tensor of this process.
        """
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Within the context no operator is watched: compiled code stands for one way to run."""
        ...


class SilentProbe:
    """Listens to nothing: for warm-up, tests and oracles."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A context without effect."""
        return contextlib.nullcontext()

    def owns(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """Ignored."""

    def uses(self, owner: str, nbytes: Iterable[int], *, beside: int = 0) -> None:
        """Ignored."""

    def aside(self) -> AbstractContextManager[None]:
        """A context without effect."""
        return contextlib.nullcontext()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one step did. ``trained_tokens`` enter the loss's forward and backward, padding apart.

    ``loss`` is a scalar on the device; reading it synchronises, so that is left to the harness.
    ``metrics`` are continuous scalars of the method, e.g. DPO's mean log-prob: the agreement check
    compares them between devices. ``accuracy`` is the share of pairs ranked right. ``rollout`` are
    the tokens [R, T] that PPO sampled. ``logprob_gap``: the mean over response tokens of how far a
    served engine's log-prob is from the policy's, in nats; ``None`` where the policy samples.
    """

    loss: torch.Tensor
    trained_tokens: int
    padded_tokens: int
    generated_tokens: int = 0
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)
    accuracy: torch.Tensor | None = None
    rollout: torch.Tensor | None = None
    logprob_gap: torch.Tensor | None = None


class TrainingStep(Protocol):
    """Models, optimizers and one optimisation step.

    It is built in three parts: all models, `Setup.shard` of them, optimizers. ``rows``: of its
    method's batches.
    """

    rows: BatchRows = "pairs"

    def prepare(self, batches: BatchSource, probe: Probe) -> None:
        """Work of the method before its first step, in phases of its own; by default none."""
        return

    def models(self) -> dict[str, nn.Module]:
        """``policy``, and ``ref``, ``reward``, ``value`` where the method holds them apart."""
        ...

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Every optimizer of the step."""
        ...

    def held(self) -> Mapping[str, Iterable[torch.Tensor]]:
        """Owner in the ledger -> tensors that stay between steps and that no model has; by default
        none.
        """
        return {}

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One whole step on ``batch``, gradients released at its end.

        Of several ranks each is given the same batch, and takes its rows; the outcome is that of
        all, but for ``rollout``, which holds the rank's own rows.
        """
        ...


def descend(
    loss: torch.Tensor, optimizers: Iterable[torch.optim.Optimizer], probe: Probe
) -> torch.Tensor:
    """Backward pass and steps, in their phases, gradients released; the loss without its graph."""
    with probe.phase("backward"):
        loss.backward()
    stepped(optimizers, probe)
    return loss.detach()


def stepped(optimizers: Iterable[torch.optim.Optimizer], probe: Probe) -> None:
    """Their steps on the gradients that are there, in their phase, and these released."""
    with probe.phase("optimizer"):
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def _no_contradictions(_: Cell) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method: phases in order, settings that belong in the record, constructor.

    What is asked of it where torch is not loaded stands in its row of `registry.METHODS`.

    ``rows``: a batch holds chosen and rejected answers of B pairs, the chosen ones of 2B, or the
    chosen ones of ``2B / group`` pairs, each ``group`` times in a row: one prompt, many samples; or
    2B answers that are judged one by one, of pairs both.
    ``contradictions``: a sentence for each way in which the axes of a cell contradict what the
    method does. ``first_loss``: what the first step's must be, ``None`` where nobody knows.
    ``passes``: tells the tally every pass of one step, for the count of FLOPs; ``None`` where
    nobody has counted them, and records say so.
    """

    name: str
    phases: tuple[str, ...]
    hyperparameters: Mapping[str, float | int | str]
    build: Callable[[Setup], TrainingStep]
    rows: BatchRows = "pairs"
    contradictions: Callable[[Cell], Iterable[str]] = _no_contradictions
    first_loss: Callable[[Cell], float | None] = lambda _: None
    passes: Callable[[Cell, Tally], None] | None = None
