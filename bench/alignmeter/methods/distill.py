"""On-policy distillation: the student samples, and learns the teacher's distribution there."""

__all__ = ["DISTILL", "DistillSettings", "DistillStep"]

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.logits import final_logits
from alignmeter.batches import Batch, Where
from alignmeter.batches.spans import at_responses
from alignmeter.batches.tokenizer import same_tokens
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.flops import Tally, Work, responses, sequences
from alignmeter.methods.losses.distill import divergence, divergence_of_states
from alignmeter.parallel import within
from alignmeter.training.grouped import sampled
from alignmeter.training.logprobs import hidden_states
from alignmeter.training.sampled_step import SampledStep
from alignmeter.training.sampling import sampled_outcome
from alignmeter.training.setup import Setup, vocabulary
from alignmeter.training.step import Method, Outcome, Probe, descend


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillSettings:
    """beta 1: the reverse divergence, as in TRL and in what is called on-policy distillation."""

    learning_rate: float = 1e-5
    beta: float = 1.0


class DistillStep(SampledStep):
    """Policy, which is the student, and the frozen teacher."""

    rows = "chosen"

    def __init__(self, setup: Setup, settings: DistillSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.teacher = setup.teacher()
        self.train(settings.learning_rate)

    def models(self) -> dict[str, nn.Module]:
        """Policy and teacher."""
        return super().models() | {"teacher": self.teacher}

    def _teacher_head(self, states: torch.Tensor) -> torch.Tensor:
        return within(self.teacher, _head(self.teacher), states)

    def _states(self, model: nn.Module, ids: torch.Tensor, where: Where) -> torch.Tensor:
        """Hidden states [R * N, D] that the head reads for the response tokens."""
        return at_responses(hidden_states(model, ids, where), where, shift=-1).flatten(0, 1)

    def _divergence(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Of each token [R * N]; with custom kernels some rows of logits at a time."""
        beta, heads = self.settings.beta, (_head(self.policy), self._teacher_head)
        if self.setup.cell.kernels != "custom":
            return divergence(heads[0](student), heads[1](teacher), beta=beta)
        vocab = self.setup.vocab_size
        return divergence_of_states(student, teacher, heads, beta=beta, vocab=vocab)

    def _learned(
        self, ids: torch.Tensor, where: Where, wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The student's states, and the loss on them; ``wanted``: the teacher's."""
        found = self._states(self.policy, ids, where)
        return found, self._divergence(found, wanted).mean()

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One step: 2B rollouts, the teacher's pass, one update on the mean over tokens."""
        ids = self._sampling.sample(self.policy, batch, probe)
        where = self.setup.ranks.part(batch, self.rows).sampled(ids)
        with probe.phase("teacher_forward"), torch.no_grad(), self.setup.forward():
            wanted = within(self.teacher, self._states, self.teacher, ids, where)
        with probe.phase("forward"), self.setup.forward():
            _found, loss = within(self.policy, self._learned, ids, where, wanted)
        outcome = sampled_outcome(descend(loss, self.optimizers(), probe), ids, where)
        return self._sampling.outcome(outcome, batch)


def _head(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Hidden states [M, D] -> logits [M, V]."""
    linear = model.get_output_embeddings()

    def logits(states: torch.Tensor) -> torch.Tensor:
        return final_logits(model, linear(states.to(linear.weight.dtype)))

    return logits


def _draws(cell: Cell) -> bool:
    return cell.model == RANDOM or find_checkpoint(cell.model).drawn


def _contradictions(cell: Cell) -> Iterator[str]:
    taught = as_teacher(cell)
    if not _draws(cell) and (taught is cell or _draws(taught)):
        yield (
            "the teacher's weights are drawn, and a checkpoint's would learn nothing of them; "
            "give a checkpoint as teacher too, or measure distill with random weights"
        )
        return
    if taught.model != RANDOM:
        family = find_checkpoint(taught.model).architecture
        if family != cell.architecture:
            yield f"teacher {cell.teacher} is a {family}, not a {cell.architecture}"
    ids, its = (vocabulary(one) for one in (cell, taught))
    if ids != its:
        yield (
            f"teacher {cell.teacher} has {its} token ids, the student {ids}: there is no "
            "divergence of the two; give a teacher of the student's vocabulary"
        )
    elif RANDOM not in (cell.model, taught.model) and not same_tokens(cell.model, taught.model):
        yield (
            f"the tokenizers of {cell.model} and of teacher {cell.teacher} give tokens other ids; "
            "give a teacher of the student's vocabulary"
        )


def _passes(cell: Cell, tally: Tally) -> None:
    sampled(cell, tally)
    rows, answer = 2 * cell.batch, cell.seq_len - cell.prompt_len
    tally.teach("teacher_forward", sequences(rows, cell.seq_len))
    # The teacher's logits are made beside the student's.
    tally.teach("forward", Work(tokens=0, pairs=0, logits=rows * answer))
    tally.train(responses(cell))


DISTILL = Method(
    name="distill",
    phases=("rollout", "teacher_forward", "forward", "backward", "optimizer"),
    rows=DistillStep.rows,
    hyperparameters=asdict(DistillSettings()),
    build=lambda setup: DistillStep(setup, DistillSettings()),
    contradictions=_contradictions,
    passes=_passes,
)
