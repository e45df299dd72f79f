"""FLOPs and bytes of one step by phase: the passes that its method makes, added up."""

__all__ = ["StepFlops", "Tally"]

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from alignmeter.flops.network import Network
from alignmeter.flops.storage import Storage
from alignmeter.flops.traffic import Traffic
from alignmeter.flops.work import Work
from alignmeter.records.demand import Demand


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
        self,
        network: Network,
        *,
        storage: Storage,
        checkpointing: bool,
        microbatches: int = 1,
        teacher: Network | None = None,
        early_head: bool = False,
    ) -> None:
        """``checkpointing``: blocks are computed again in backward passes. ``microbatches``: calls
        that every pass is made in. ``early_head``: the LM head's gradients are of the forward pass.
        """
        self._network, self._checkpointing = network, checkpointing
        self._teacher = network if teacher is None else teacher
        self._storage, self._microbatches = storage, microbatches
        self._early_head = early_head
        self._trained = self._backward = self._recomputed = self._masked = 0
        self._frozen: dict[str, int] = defaultdict(int)
        self._flops: dict[str, int] = defaultdict(int)
        self._moved: dict[str, int] = defaultdict(int)
        self._largest: dict[str, int] = defaultdict(int)

    def train(self, work: Work, times: int = 1, *, parts: int = 1, steps: bool = True) -> None:
        """Forward and backward, ``times`` over, each in so many ``parts`` that the optimizer steps
        after; ``steps``: not where it waits for the gradients of another pass.
        """
        network = self._network
        early = network.head_gradients(work) if self._early_head else 0
        self._trained += times * (network.forward(work) + early)
        self._backward += times * (network.backward(work) - early)
        self._masked += times * network.masked(work, trains=True)
        again = network.recomputed if self._checkpointing else lambda _: 0
        self._recomputed += times * again(work)
        causal = work.causal
        self._flops["forward"] += times * (network.forward(causal) + early)
        spared = early or network.frozen_head(causal)
        backward = network.backward(causal) - spared + again(causal)
        self._flops["backward"] += times * backward
        traffic = Traffic(network=network, storage=self._storage)
        calls = times * parts * self._microbatches
        moved = traffic.backward(work, recomputes=self._checkpointing)
        self._move("forward", calls * traffic.forward(work, adapted=True), calls)
        self._move("backward", calls * moved, calls)
        if steps:
            self._move("optimizer", times * parts * traffic.step(work), times * parts)

    def infer(self, phase: str, work: Work, *, adapted: bool) -> None:
        """Forward without gradient, with the adapters or without them."""
        self._forward(self._network, phase, work, adapted=adapted)

    def teach(self, phase: str, work: Work) -> None:
        """Forward of the teacher, which has no adapters."""
        self._forward(self._teacher, phase, work, adapted=False)

    def _forward(self, network: Network, phase: str, work: Work, *, adapted: bool) -> None:
        self._frozen[phase] += network.forward(work, adapted=adapted)
        self._masked += network.masked(work, trains=False)
        self._flops[phase] += network.forward(work.causal, adapted=adapted)
        traffic = Traffic(network=network, storage=self._storage)
        moved, calls = traffic.forward(work, adapted=adapted), self._microbatches * work.calls
        self._move(phase, self._microbatches * moved, calls)

    def _move(self, phase: str, nbytes: int, calls: int) -> None:
        """``nbytes`` in so many calls; none where a prompt is answered with one token."""
        self._moved[phase] += nbytes
        self._largest[phase] = max(self._largest[phase], nbytes // max(calls, 1))

    def result(self) -> StepFlops:
        """FLOPs of all passes so far."""
        return StepFlops(
            trained=self._trained,
            backward=self._backward,
            frozen=dict(self._frozen),
            recomputed=self._recomputed,
            masked=self._masked,
        )

    def demand(self) -> dict[str, Demand]:
        """Phase -> what all passes so far ask of a device at least, in the order of the step."""
        return {
            phase: Demand(
                flops=self._flops.get(phase, 0),
                moved_bytes=moved,
                call_bytes=self._largest[phase],
            )
            for phase, moved in self._moved.items()
        }
