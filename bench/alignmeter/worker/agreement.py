"""The agreement check: the first optimisation steps of a cell against its reference."""

__all__ = [
    "AGREEMENT_STEPS",
    "PLAIN_ROLLOUT",
    "checked_cell",
    "is_reference",
    "is_rounded",
    "make_reference",
    "observe",
    "sliced_layers",
]

import dataclasses
from collections.abc import Sequence

import msgspec
import torch

from alignmeter.architectures.base import WHOLE_PARAMETERS, WHOLE_SIZES
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import REFERENCE, precision_of
from alignmeter.batches import Batch, BatchSource, SharedRows
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.methods import Method, TrainingStep, open_method, open_setup
from alignmeter.records.reference import Reference, Signals
from alignmeter.registry import LOSS_HEADS, PEFT_MODES, ROLLOUTS, default_name
from alignmeter.worker.gradients import GradientWatch
from alignmeter.worker.inputs import reading_checkpoint, shared_batches
from alignmeter.worker.messages import Observed
from alignmeter.worker.progress import CountingProbe

AGREEMENT_STEPS = 2
"""The first sees the weights as they were drawn, the second what the first made of them."""

_SLICE_LAYERS = 2
_WHOLE_TOKENS = 256
"""Stock Mamba loops over tokens in Python: 8192 of them would take the reference minutes."""
_LEAST_RESPONSE = 16
PLAIN_ROLLOUT = default_name(ROLLOUTS)
"""What samples a reference's tokens, which cells of every engine replay."""
_PLAIN = {
    "accelerator": "cpu", "precision": REFERENCE, "kernels": "stock", "rollout": PLAIN_ROLLOUT,
    "loss_head": default_name(LOSS_HEADS), "microbatches": 1, "world_size": 1, "parallel": "none",
}  # fmt: skip
"""Axes that decide how a reference is computed, and their values."""


def sliced_layers(cell: Cell) -> int | None:
    """How many layers the check keeps of every model: two where one of them is above 370m, with
    which a CPU would take too long.
    """
    whole = all(map(_is_whole, (cell, as_teacher(cell))))
    return None if whole else _SLICE_LAYERS


def _is_whole(cell: Cell) -> bool:
    if cell.model == RANDOM:
        return cell.size in WHOLE_SIZES
    return find_checkpoint(cell.model).parameters <= WHOLE_PARAMETERS


def checked_cell(cell: Cell) -> Cell:
    """What the check runs: ``cell`` without dropout, whose draws are a device's own, or the same at
    256 tokens where its sequences are longer.

    Prompt and response are cut in proportion, but 16 tokens of a response stay if it has them: a
    loss over one token would check little.
    """
    if cell.lora_dropout != "0":
        cell = msgspec.structs.replace(cell, lora_dropout="0")
    if cell.seq_len <= _WHOLE_TOKENS:
        return cell
    response = cell.seq_len - cell.prompt_len
    kept = max(response * _WHOLE_TOKENS // cell.seq_len, min(response, _LEAST_RESPONSE))
    return msgspec.structs.replace(cell, seq_len=_WHOLE_TOKENS, prompt_len=_WHOLE_TOKENS - kept)


def is_reference(cell: Cell) -> bool:
    """Whether the cell is computed as its reference is, so that it checks nothing."""
    return all(getattr(cell, axis) == value for axis, value in _PLAIN.items())


def is_rounded(cell: Cell) -> bool:
    """Whether the cell stores its base weights in bf16: the reference then starts from the same."""
    return precision_of(cell.precision).base == torch.bfloat16


def observe(
    step: TrainingStep,
    batches: BatchSource,
    method: Method,
    device: torch.device,
    replay: Sequence[Sequence[Sequence[int]]] = (),
) -> Observed:
    """Run the agreement steps. ``replay`` holds rollouts of a reference for PPO to take."""
    watch = GradientWatch(step)
    signals: Signals = {}
    rollouts = []
    silent: list[str] = []
    equal = False
    for number in range(AGREEMENT_STEPS):
        batch = batches.take(number, device, method.rows)
        if replay:
            batch = _with_rollout(batch, replay[number])
        outcome = step.run(batch, CountingProbe())
        found = {"loss": outcome.loss, **outcome.metrics}
        for name, value in found.items():
            signals.setdefault(name, []).append(float(value))
        signals.setdefault("grad_norm", []).append(watch.take_norm())
        if number == 0:
            silent = watch.silent()
            equal = _compares(method, batch) and outcome.rollout is None and _all_equal(batch)
        if outcome.rollout is not None:
            rollouts.append(outcome.rollout[:, batch.prompt_len :].tolist())
    watch.close()
    return Observed(signals=signals, rollouts=rollouts, silent_adapters=silent, answers_equal=equal)


def _compares(method: Method, batch: Batch) -> bool:
    """Whether the batch is of pairs, both answers of each."""
    return method.rows in ("pairs", "unpaired") and batch.desirable is None


def _all_equal(batch: Batch) -> bool:
    """Whether no pair of the batch has two answers to tell apart."""
    chosen, rejected = batch.ids.chunk(2)
    return torch.equal(chosen, rejected)


def _with_rollout(batch: Batch, responses: Sequence[Sequence[int]]) -> Batch:
    tokens = torch.tensor(responses, device=batch.ids.device)
    return dataclasses.replace(batch, rollout=torch.cat([batch.prompts, tokens], dim=1))


def make_reference(
    cell: Cell, seed: int, layers: int | None, rounded: bool, shared: SharedRows | None = None
) -> Reference:
    """The reference of ``cell``, computed now: fp32, stock operators, on the CPU.

    ``rounded``: from weights that passed through bf16, as the cell stores them. ``shared``: what
    another process read of the data.
    """
    cpu = torch.device("cpu")
    plain = msgspec.structs.replace(
        cell, **_PLAIN, checkpointing="off", ref=PEFT_MODES[cell.peft].default_ref
    )
    method = open_method(cell.method)
    with reading_checkpoint(plain):
        setup = open_setup(
            plain, cpu, seed=seed, layers=layers, rounded=torch.bfloat16 if rounded else None
        )
        batches = shared_batches(plain, vocab_size=setup.vocab_size, seed=seed, shared=shared)
        step = method.build(setup)
    observed = observe(step, batches, method, cpu)
    return Reference(
        signals=observed.signals,
        rollouts=observed.rollouts,
        layers=layers,
        silent_adapters=observed.silent_adapters,
    )
