"""Rows of a batch one after the other in a single one, without padding between them."""

__all__ = ["Packed", "last_hidden"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

_OWN_MASK = "flash_attention_2"
"""The attention that finds from positions alone which tokens are of one row."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Packed:
    """Where the M real tokens of rows [R, L] stand.

    index: [M], their places in the flattened rows. positions: [1, M], each row's from 0 on.
    visible: [1, 1, M, M] bool, whether a query (first) sees a key: of its own row, not after it.
    """

    index: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], width: int, device: torch.device) -> "Packed":
        """Of rows [R, ``width``] whose first ``lengths`` tokens are real."""
        counts = torch.tensor(lengths)
        total = sum(lengths)
        rows = torch.arange(len(lengths)).repeat_interleave(counts, output_size=total)
        begins = torch.tensor([0, *accumulate(lengths)][:-1])
        positions = torch.arange(total) - begins[rows]
        rows, index, positions = (
            host.to(device) for host in (rows, rows * width + positions, positions)
        )
        visible = (rows.unsqueeze(1) == rows) & (index.unsqueeze(1) >= index)
        return cls(index=index, positions=positions[None], visible=visible[None, None])

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All three, for the ledger."""
        return self.index, self.positions, self.visible


def last_hidden(backbone: Any, ids: torch.Tensor, packed: Packed | None = None) -> torch.Tensor:
    """Last hidden states [R, L, D] of ``ids`` [R, L]; of padding they are zeros where ``packed``.

    ``use_cache`` is off: with a cache transformers' llama takes packed rows for one sequence.
    """
    if packed is None:
        plain: torch.Tensor = backbone(input_ids=ids, use_cache=False).last_hidden_state
        return plain
    own_mask = getattr(backbone.config, "_attn_implementation", None) == _OWN_MASK
    states: torch.Tensor = backbone(
        input_ids=ids.flatten()[packed.index][None],
        position_ids=packed.positions,
        attention_mask=None if own_mask else packed.visible,
        use_cache=False,
    ).last_hidden_state[0]
    rows = states.new_zeros(ids.numel(), states.shape[-1]).index_copy(0, packed.index, states)
    return rows.view(*ids.shape, -1)
