"""KTO: each answer judged by itself, against the mean of answers to other prompts."""

__all__ = ["KTO", "KtoSettings", "KtoStep", "mismatched"]

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch
from torch.nn.utils.rnn import pad_sequence

from alignmeter.batches import Batch, Where
from alignmeter.batches.spans import Spans
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses.kto import kto_loss, kto_reference_point
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class KtoSettings:
    """beta and weights of the paper's experiments where good and bad answers are equally many."""

    learning_rate: float = 1e-5
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0


class KtoStep(PolicyStep, AccumulatingStep):
    """Policy and ref_model of one cell."""

    rows = "unpaired"

    def __init__(self, setup: Setup, settings: KtoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.ref = setup.ref()
        self.train(settings.learning_rate)

    def _mismatched(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, Where]:
        """This rank's rows of what is `mismatched` in the whole batch."""
        whole = self.whole(batch)
        ids, mask, where = mismatched(whole, self.setup.cell.seq_len)
        if whole is batch:
            return ids, mask, where
        spans = None if isinstance(where, int) else where
        every = replace(whole, ids=ids, response_mask=mask, spans=spans)
        own = self.setup.ranks.part(every, self.rows)
        return own.ids, own.response_mask, own.where

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One KTO step on 2B rows, desirable ones and others: three forwards and a trained one.

        The reference point is a mean over the rows of all ranks.
        """
        ids, mask, where = self._mismatched(batch)
        ranks = self.setup.ranks
        with probe.phase("ref_forward"), self.setup.as_ref(self.policy, self.ref) as ref:
            ref_sums = self.response_sums(ref, batch)
            ref_apart = (self.logprobs(ref, ids, where) * mask).sum(1)
        with probe.phase("kl_forward"), torch.no_grad(), self.setup.forward():
            apart = (self.logprobs(self.policy, ids, where) * mask).sum(1)
        with probe.phase("forward"):
            with self.setup.forward():
                sums = self.response_sums(self.policy, batch)
            loss, accuracy = kto_loss(
                sums,
                ref_sums,
                _desirable(batch),
                kto_reference_point(ranks.joined(apart), ranks.joined(ref_apart)),
                beta=self.settings.beta,
                desirable_weight=self.settings.desirable_weight,
                undesirable_weight=self.settings.undesirable_weight,
            )
        logprob = sums.detach().sum() / batch.response_mask.sum()
        return self.trained(loss, batch, probe, metrics={"logprob": logprob}, accuracy=accuracy)


def mismatched(batch: Batch, longest: int) -> tuple[torch.Tensor, torch.Tensor, Where]:
    """Each prompt with the response of the row before: ids [2B, L], response mask [2B, N], and
    where these responses lie.

    Rows of their own lengths are cut to ``longest`` tokens, as the batch's are.
    """
    if batch.spans is None:
        prompts, answers = batch.prompts, batch.ids[:, batch.prompt_len :].roll(1, 0)
        ids = torch.cat([prompts, answers], dim=1)
        return ids, batch.response_mask.roll(1, 0), batch.where
    prompts_of, lengths = batch.spans.prompts, batch.spans.lengths
    rows = [
        torch.cat([batch.ids[i, :prompt], batch.ids[i - 1, prompts_of[i - 1] : lengths[i - 1]]])
        for i, prompt in enumerate(prompts_of)
    ]
    ids = pad_sequence([row[:longest] for row in rows], batch_first=True, padding_value=batch.eos)
    packs = batch.spans.packed is not None
    spans = Spans.of(
        prompts_of,
        [min(len(row), longest) for row in rows],
        ids.device,
        row_len=ids.shape[1],
        packs=packs,
    )
    return ids, spans.mask, spans


def _desirable(batch: Batch) -> torch.Tensor:
    """[2B] bool: chosen answers, or what the data say of each."""
    if batch.desirable is not None:
        return batch.desirable
    rows = len(batch.ids)
    return torch.arange(rows, device=batch.ids.device) < rows // 2


def _contradictions(cell: Cell) -> Iterator[str]:
    if cell.ref == "precomputed":
        yield (
            "KTO pairs prompts with other rows' answers, which depend on the batch: their ref "
            "log-probs cannot be precomputed; use resident or adapter-off"
        )
    if cell.batch < 2:
        yield "KTO's reference point needs answers of other prompts in the batch; use 2 or more"


def _passes(cell: Cell, tally: Tally) -> None:
    tally.infer("ref_forward", responses(cell), adapted=False)
    tally.infer("ref_forward", responses(cell), adapted=False)
    tally.infer("kl_forward", responses(cell), adapted=True)
    tally.train(responses(cell))


KTO = Method(
    name="kto",
    rows=KtoStep.rows,
    phases=("ref_forward", "kl_forward", "forward", "backward", "optimizer"),
    hyperparameters=asdict(KtoSettings()),
    build=lambda setup: KtoStep(setup, KtoSettings()),
    contradictions=_contradictions,
    first_loss=lambda _: 0.5,  # the policy is its ref_model still: sigmoid(0) of either kind
    passes=_passes,
)
