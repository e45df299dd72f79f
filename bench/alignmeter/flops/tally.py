"""FLOPs of one step by phase: the passes that its method makes, added up."""

__all__ = ["StepFlops", "Tally"]

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from alignmeter.flops.network import Network
from alignmeter.flops.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFlops:
    """FLOPs of one step, padding included. The optimizer's are not counted.

    ``trained``: forward passes of what trains, inside the loss. ``backward``: their backward
    passes. ``frozen``: phase -> forward passes without gradient. ``recomputed``: what checkpointing
    adds to the backward phase; it is in no other figure. ``masked``: what of the others belongs to
    pairs of tokens that attention's causal mask throws away.
    """

    trained: int
    backward: int
    frozen: Mapping[str, int]
    recomputed: int
    masked: int

    @property
    def phases(self) -> dict[str, int]:
        """Phase -> model FLOPs, in the order of the step."""
        found = dict(self.frozen)
        for phase, flops in (("forward", self.trained), ("backward", self.backward)):
            found[phase] = found.get(phase, 0) + flops
        return found

    @property
    def total(self) -> int:
        """Model FLOPs: all that the step's algorithm asks for, without what is recomputed."""
        return sum(self.phases.values())


class Tally:
    """Adds up the passes of one network, and of its teacher where that is another."""

    def __init__(
        self, network: Network, *, checkpointing: bool, teacher: Network | None = None
    ) -> None:
        """``checkpointing``: blocks are computed again in backward passes."""
        self._network, self._checkpointing = network, checkpointing
        self._teacher = network if teacher is None else teacher
        self._trained = self._backward = self._recomputed = self._masked = 0
        self._frozen: dict[str, int] = defaultdict(int)

    def train(self, work: Work, times: int = 1) -> None:
        """Forward and backward, ``times`` over."""
        network = self._network
        self._trained += times * network.forward(work)
        self._backward += times * network.backward(work)
        self._masked += times * network.masked(work, trains=True)
        if self._checkpointing:
            self._recomputed += times * network.recomputed(work)

    def infer(self, phase: str, work: Work, *, adapted: bool) -> None:
        """Forward without gradient, with the adapters or without them."""
        self._forward(self._network, phase, work, adapted=adapted)

    def teach(self, phase: str, work: Work) -> None:
        """Forward of the teacher, which has no adapters."""
        self._forward(self._teacher, phase, work, adapted=False)

    def _forward(self, network: Network, phase: str, work: Work, *, adapted: bool) -> None:
        self._frozen[phase] += network.forward(work, adapted=adapted)
        self._masked += network.masked(work, trains=False)

    def result(self) -> StepFlops:
        """All passes so far."""
        return StepFlops(
            trained=self._trained,
            backward=self._backward,
            frozen=dict(self._frozen),
            recomputed=self._recomputed,
            masked=self._masked,
        )
