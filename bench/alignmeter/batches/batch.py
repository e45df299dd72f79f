"""One batch: rows of tokens, and what of them is prompt, response and padding."""

__all__ = ["Batch", "BatchRows"]

from dataclasses import dataclass
from typing import Literal

import torch

from alignmeter.batches.spans import Spans, Where

BatchRows = Literal["pairs", "chosen", "groups", "unpaired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B pairs as 2B rows, chosen rows first; or 2B rows of another kind (`BatchSource.take`).

    Padding needs no attention mask: it is on the right, both model families are causal, and
    ``response_mask`` keeps it out of every loss.

    ids: [2B, L] int64; L is T where all rows are of one length, else that of the longest.
    response_mask: [2B, N], 1 where a response token is real; N is T-P, or the longest response's.
    prompt_len: tokens of the shortest prompt.
    eos: id that ends a response.
    real_tokens: how many of ``ids`` are not padding, counted on the host.
    pairs: number of each pair behind them, once.
    spans: where prompts and responses lie; ``None`` where every prompt has P tokens.
    desirable: [2B] bool, of answers that are judged one by one; ``None``: the first half is.
    rollout: tokens [2B, L] that a method takes instead of sampling its own.
    """

    ids: torch.Tensor
    response_mask: torch.Tensor
    prompt_len: int
    eos: int
    real_tokens: int
    pairs: tuple[int, ...]
    spans: Spans | None = None
    desirable: torch.Tensor | None = None
    rollout: torch.Tensor | None = None

    @property
    def where(self) -> Where:
        """Where the responses of ``ids`` lie."""
        return self.prompt_len if self.spans is None else self.spans

    @property
    def prompts(self) -> torch.Tensor:
        """[2B, P]: each prompt as often as it has answers; its first tokens, where it is longer."""
        return self.ids[:, : self.prompt_len]

    @property
    def padded_tokens(self) -> int:
        """How many of the tokens that backbones are given are padding."""
        packs = self.spans is not None and self.spans.packed is not None
        return 0 if packs else self.ids.numel() - self.real_tokens

    @property
    def last_token(self) -> torch.Tensor:
        """[2B]: position of each row's last real token."""
        if self.spans is not None:
            return self.spans.stops - 1
        return self.prompt_len - 1 + self.response_mask.sum(1).long()

    def sampled(self, ids: torch.Tensor) -> Where:
        """Where the responses of ``ids`` [2B, L] lie, sampled for these prompts, all of one length.

        That is what L leaves after the longest prompt.
        """
        if self.spans is None:
            return self.prompt_len
        prompts = self.spans.prompts
        new = ids.shape[1] - max(prompts)
        lengths = [prompt + new for prompt in prompts]
        packs = self.spans.packed is not None
        return Spans.of(prompts, lengths, ids.device, row_len=ids.shape[1], packs=packs)

    def tensors(self) -> list[torch.Tensor]:
        """All that is on the device, for the ledger."""
        spans = () if self.spans is None else self.spans.tensors()
        desirable = () if self.desirable is None else (self.desirable,)
        return [self.ids, self.response_mask, *spans, *desirable]
