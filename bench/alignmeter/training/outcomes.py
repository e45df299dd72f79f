"""What a step did, brought together from all of its ranks."""

__all__ = ["over_ranks"]

from dataclasses import replace

import torch

from alignmeter.parallel import Ranks
from alignmeter.training.step import Outcome


def over_ranks(outcome: Outcome, ranks: Ranks, *, means: bool) -> Outcome:
    """The same of all ranks' rows, in one sum over ranks. Counts stay as they are.

    ``means``: each rank's figures are means over as many rows or tokens as any other's; else they
    are what it counts in the whole batch's.
    """
    if ranks.size == 1:
        return outcome
    named = {"loss": outcome.loss, **{f"metric {n}": v for n, v in outcome.metrics.items()}}
    others = {"accuracy": outcome.accuracy, "logprob_gap": outcome.logprob_gap}
    named |= {name: value for name, value in others.items() if value is not None}
    total = ranks.total(torch.stack([value.detach().float() for value in named.values()]))
    if means:
        total = total / ranks.size
    found = dict(zip(named, total.unbind(), strict=True))
    return replace(
        outcome,
        loss=found["loss"],
        metrics={name: found[f"metric {name}"] for name in outcome.metrics},
        accuracy=found.get("accuracy"),
        logprob_gap=found.get("logprob_gap"),
    )
