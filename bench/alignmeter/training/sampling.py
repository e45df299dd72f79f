"""Responses of a step: sampled by its rollout engine, or replayed from a reference."""

__all__ = ["Sampling", "sampled_outcome"]

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn

from alignmeter.batches import Batch, BatchRows, Where
from alignmeter.parallel import shared_again
from alignmeter.training.engines import open_engine
from alignmeter.training.outcomes import over_ranks
from alignmeter.training.rollout import Asked, Given
from alignmeter.training.setup import Setup
from alignmeter.training.step import Outcome, Probe

_SEED = 4
"""Added to the replicate's seed."""


class Sampling:
    """Engine and generator of one step's rollouts, in their phase ``rollout``.

    Of several ranks each samples its own rows, with the draws that one process has for them.
    """

    def __init__(self, setup: Setup, rows: BatchRows) -> None:
        """``rows``: of the method's batches."""
        self._setup, self._rows = setup, rows
        self._sampler = open_engine(setup.cell.rollout).open(setup.cell)
        self._generator = torch.Generator(setup.device).manual_seed(setup.seed + _SEED)
        self._logprobs: torch.Tensor | None = None

    def prepare(self, policy: nn.Module, probe: Probe) -> None:
        """What the engine does once, before the first step."""
        rows = 2 * self._setup.cell.batch // self._setup.ranks.size
        prompt_len = self._setup.cell.prompt_len
        prompts = torch.zeros(rows, prompt_len, dtype=torch.int64, device=self._setup.device)
        with torch.no_grad(), self._setup.forward():
            self._sampler.prepare(policy, prompts, probe)
        shared_again(policy)

    def sample(self, policy: nn.Module, batch: Batch, probe: Probe) -> torch.Tensor:
        """This rank's prompts of the batch with a response of T-P tokens each: [R, L]."""
        self._logprobs = None
        own = self._setup.ranks.part(batch, self._rows)
        if batch.rollout is None:
            with torch.no_grad():
                self._sampler.synchronise(policy, probe)
        with probe.phase("rollout"):
            if own.rollout is not None:
                return self._cut(own.rollout, own)
            with torch.no_grad(), self._setup.forward(), self._setup.sampling(policy):
                sampled = self._sampler.sample(policy, self._asked(batch), probe)
        self._logprobs = sampled.logprobs
        return self._cut(sampled.ids, own)

    def _asked(self, batch: Batch) -> Asked:
        """Of this rank's rows as many tokens as of any others: each is a call of all ranks."""
        cell, ranks = self._setup.cell, self._setup.ranks
        whole = Asked(
            prompts=batch.prompts,
            new_tokens=cell.seq_len - cell.prompt_len + _spread(batch),
            generator=self._generator,
            given=_given(batch),
        )
        if ranks.size == 1:
            return whole
        return whole.of_rows(ranks.places(batch, self._rows)[ranks.rank])

    def _cut(self, ids: torch.Tensor, own: Batch) -> torch.Tensor:
        """Without what only other ranks' longer prompts made longer."""
        if self._setup.ranks.size == 1 or own.spans is None:
            return ids
        cell = self._setup.cell
        return ids[:, : max(own.spans.prompts) + cell.seq_len - cell.prompt_len].contiguous()

    def outcome(self, own: Outcome, batch: Batch) -> Outcome:
        """That of all ranks: each has as many rows, and as many tokens in each response."""
        ranks = self._setup.ranks
        if ranks.size == 1:
            return own
        return over_ranks(self._counted(own, batch), ranks, means=True)

    def _counted(self, own: Outcome, batch: Batch) -> Outcome:
        """With the tokens of all ranks, each of which pads to its own longest prompt."""
        ranks, cell = self._setup.ranks, self._setup.cell
        generated = own.generated_tokens * ranks.size
        if batch.spans is None:
            trained = own.trained_tokens * ranks.size
            return replace(own, trained_tokens=trained, generated_tokens=generated)
        prompts, new = batch.spans.prompts, cell.seq_len - cell.prompt_len
        of = [[prompts[row] + new for row in rows] for rows in ranks.places(batch, self._rows)]
        passes = own.trained_tokens // sum(of[ranks.rank])
        real = sum(map(sum, of))
        padded = 0 if batch.spans.packed is not None else sum(len(r) * max(r) for r in of) - real
        return replace(
            own,
            trained_tokens=real * passes,
            padded_tokens=padded * passes,
            generated_tokens=generated,
        )

    def gap(self, logprobs: torch.Tensor) -> torch.Tensor | None:
        """How far the engine's log-probs of the last rollout are from the policy's [R, N], mean.

        ``None`` where the engine is the policy, and where the tokens were replayed.
        """
        if self._logprobs is None:
            return None
        return (logprobs.detach() - self._logprobs).abs().mean()

    def held(self) -> Mapping[str, Iterable[torch.Tensor]]:
        """What the engine keeps between rollouts, by its owner in the ledger."""
        return {"rollout_cache": self._sampler.held()}


def sampled_outcome(
    loss: torch.Tensor,
    ids: torch.Tensor,
    where: Where,
    *,
    metrics: Mapping[str, torch.Tensor] | None = None,
    passes: int = 1,
    logprob_gap: torch.Tensor | None = None,
) -> Outcome:
    """What a step on rollouts ``ids`` [R, L] did, which it trained on ``passes`` times."""
    rows, length = ids.shape
    if isinstance(where, int):
        real, new, padded = ids.numel(), rows * (length - where), 0
    else:
        real, new = sum(where.lengths), rows * where.width
        padded = 0 if where.packed is not None else ids.numel() - real
    return Outcome(
        loss=loss,
        trained_tokens=real * passes,
        padded_tokens=padded * passes,
        generated_tokens=new,
        metrics=metrics or {},
        rollout=ids,
        logprob_gap=logprob_gap,
    )


def _spread(batch: Batch) -> int:
    """Tokens of the longest prompt beyond the shortest."""
    return 0 if batch.spans is None else max(batch.spans.prompts) - batch.prompt_len


def _given(batch: Batch) -> Given | None:
    """What prompts have beyond the shortest one, where lengths differ."""
    if batch.spans is None:
        return None
    shortest, spread = batch.prompt_len, _spread(batch)
    places = torch.arange(shortest, shortest + spread, device=batch.ids.device)
    return Given(
        tokens=batch.ids[:, shortest : shortest + spread],
        mask=places < batch.spans.starts.unsqueeze(1),
    )
