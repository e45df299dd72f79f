"""FLOPs of one step by phase: which passes each method makes, over which tokens."""

__all__ = ["STEPS", "StepFlops", "step_flops", "uncounted"]

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alignmeter.cells.cell import Cell
from alignmeter.flops.blocks import BLOCKS
from alignmeter.flops.network import Network, Work
from alignmeter.flops.shapes import network_of, shape_of
from alignmeter.peft import open_peft


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
        return {**self.frozen, "forward": self.trained, "backward": self.backward}

    @property
    def total(self) -> int:
        """Model FLOPs: all that the step's algorithm asks for, without what is recomputed."""
        return sum(self.phases.values())


class _Tally:
    """Adds up passes of one network."""

    def __init__(self, network: Network, *, checkpointing: bool) -> None:
        self._network, self._checkpointing = network, checkpointing
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
        self._frozen[phase] += self._network.forward(work, adapted=adapted)
        self._masked += self._network.masked(work, trains=False)

    def result(self) -> StepFlops:
        return StepFlops(
            trained=self._trained,
            backward=self._backward,
            frozen=dict(self._frozen),
            recomputed=self._recomputed,
            masked=self._masked,
        )


def _sequences(rows: int, length: int, *, logits: int = 0, scored: bool = False) -> Work:
    """Whole sequences: ``logits`` tokens of each row reach the LM head, all of them a scalar head.

    Every query meets every key, as in PaLM's formula; half of them less the diagonal are masked.
    """
    return Work(
        tokens=rows * length,
        pairs=rows * length**2,
        masked=rows * length * (length - 1) // 2,
        logits=rows * logits,
        scores=rows * length if scored else 0,
    )


def _decoding(rows: int, prompt: int, length: int) -> Work:
    """Tokens fed one by one to a model that keeps a cache: the last one sampled never is."""
    fed = range(prompt, length - 1)
    pairs = sum(position + 1 for position in fed)
    return Work(tokens=rows * len(fed), pairs=rows * pairs, logits=rows * len(fed))


def _policy_work(cell: Cell) -> Work:
    rows, response = 2 * cell.batch, cell.seq_len - cell.prompt_len
    return _sequences(rows, cell.seq_len, logits=response)


def _sft(cell: Cell, tally: _Tally) -> None:
    tally.train(_policy_work(cell))


def _rm(cell: Cell, tally: _Tally) -> None:
    tally.train(_sequences(2 * cell.batch, cell.seq_len, scored=True))


def _dpo(cell: Cell, tally: _Tally) -> None:
    if cell.ref != "precomputed":
        tally.infer("ref_forward", _policy_work(cell), adapted=False)
    tally.train(_policy_work(cell))


def _ppo(cell: Cell, tally: _Tally) -> None:
    rows, length = 2 * cell.batch, cell.seq_len
    response = length - cell.prompt_len
    tally.infer("rollout", _sequences(rows, cell.prompt_len, logits=1), adapted=True)
    tally.infer("rollout", _decoding(rows, cell.prompt_len, length), adapted=True)
    policy, scalar = _policy_work(cell), _sequences(rows, length, scored=True)
    both = _sequences(rows, length, logits=response, scored=True)
    shared = cell.ppo_topology == "shared"
    one_backbone = shared and not open_peft(cell.peft).adapters
    if one_backbone:
        tally.infer("scoring", both, adapted=False)
        tally.infer("scoring", both, adapted=False)
    else:
        tally.infer("scoring", policy, adapted=True)
        tally.infer("scoring", policy, adapted=False)  # ref
        tally.infer("scoring", scalar, adapted=shared)  # reward
        tally.infer("scoring", scalar, adapted=True)  # value
    if one_backbone and cell.ppo_backward == "joint":
        tally.train(both, cell.ppo_epochs)
    else:
        tally.train(policy, cell.ppo_epochs)
        tally.train(scalar, cell.ppo_epochs)


STEPS: dict[str, Callable[[Cell, _Tally], None]] = {
    "sft": _sft,
    "rm": _rm,
    "dpo": _dpo,
    "ppo": _ppo,
}
"""Method -> the passes of its step. PPO's minibatches share out its rows and change no sum."""


def uncounted(cell: Cell) -> str | None:
    """Why nobody has counted the FLOPs of this cell, or ``None``."""
    if cell.method not in STEPS:
        return f"the FLOPs of method {cell.method} are not counted"
    if cell.architecture not in BLOCKS:
        return f"the FLOPs of architecture {cell.architecture} are not counted"
    if cell.peft != "full" and not open_peft(cell.peft).adapters:
        return f"the FLOPs of peft {cell.peft} are not counted"
    window = shape_of(cell).get("sliding_window")
    if window is not None and window < cell.seq_len:
        return f"attention within a window of {window} tokens is not counted"
    return None


def step_flops(cell: Cell) -> StepFlops:
    """FLOPs of one step of ``cell``, from its axes alone. `uncounted` says for which it fails."""
    tally = _Tally(network_of(cell), checkpointing=cell.checkpointing == "on")
    STEPS[cell.method](cell, tally)
    return tally.result()
