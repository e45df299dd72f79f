"""What judges a sampled answer: a reward model, or a function of text or tokens."""

__all__ = ["Reward", "open_reward"]

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from alignmeter.batches import Batch
from alignmeter.batches.spans import at_responses, ends
from alignmeter.cells.axes import path_of
from alignmeter.training.logprobs import scored
from alignmeter.training.setup import Setup
from alignmeter.training.user_reward import UserReward

Tensor = torch.Tensor


class Reward(Protocol):
    """Judges responses; its time is the phase ``reward``."""

    def models(self) -> dict[str, nn.Module]:
        """``reward``, if a model judges."""
        ...

    def of(self, ids: Tensor, batch: Batch) -> Tensor:
        """Reward [R] in fp32 of each of ``ids`` [R, T], sampled for the prompts of ``batch``."""
        ...


class _ModelReward(Reward):
    """The frozen reward model that PPO has too: its score at the last token."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._model = setup, setup.reward()

    def models(self) -> dict[str, nn.Module]:
        return {"reward": self._model}

    @torch.no_grad()
    def of(self, ids: Tensor, batch: Batch) -> Tensor:
        with self._setup.forward():
            where = batch.sampled(ids)
            scores = ends(scored(self._model, ids, where), where)
        return scores.float()


class _TokenReward(Reward):
    """A function of response tokens [R, N] and of the batch that asked for them."""

    def __init__(self, function: Callable[[Tensor, Batch], Tensor]) -> None:
        self._function = function

    def models(self) -> dict[str, nn.Module]:
        return {}

    @torch.no_grad()
    def of(self, ids: Tensor, batch: Batch) -> Tensor:
        return self._function(at_responses(ids, batch.sampled(ids)), batch)


def _length(response: Tensor, batch: Batch) -> Tensor:
    """Share of the response before its first end of sequence: short answers are worth little."""
    ended = (response == batch.eos).cumsum(1) > 0
    return 1.0 - ended.float().mean(1)


def _token_share(response: Tensor, _: Batch) -> Tensor:
    """Share of tokens with an even id: half by chance, and a policy learns to prefer them."""
    return (response % 2 == 0).float().mean(1)


def _exact_match(response: Tensor, batch: Batch) -> Tensor:
    """1 where the response is the chosen answer up to its last real token, as for sums and code
    that one can check; else 0.
    """
    wanted, mask = at_responses(batch.ids, batch.where), batch.response_mask.bool()
    missing = wanted.shape[1] - response.shape[1]
    if missing:  # answers of their own lengths: a longer one than what was sampled is no match
        response = F.pad(response, (0, missing), value=-1)
    return ((response == wanted) | ~mask).all(1).float()


_FUNCTIONS: dict[str, Callable[[Tensor, Batch], Tensor]] = {
    "length": _length,
    "token-share": _token_share,
    "exact-match": _exact_match,
}


def open_reward(setup: Setup) -> Reward:
    """The reward that the cell's axis of that name says. Raises `CellError` for a user's that
    cannot be loaded.
    """
    cell = setup.cell
    if path_of("reward", cell.reward) is not None:
        return UserReward(cell)
    name: Any = cell.reward
    return _ModelReward(setup) if name == "model" else _TokenReward(_FUNCTIONS[name])
