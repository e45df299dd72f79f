"""Where prompt and response lie in rows of tokens that have lengths of their own."""

__all__ = ["Spans", "Where", "at_responses", "ends", "moved", "packed_of", "spread"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from alignmeter.architectures.packing import Packed

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Spans:
    """Rows [R, L] of a prompt, its response and padding each.

    prompts, lengths: tokens of each row's prompt, and of prompt and response, known on the host.
    starts, stops: [R] int64, where each row's response begins, and where it has ended.
    width: N, tokens of the longest response. packed: how backbones are given the rows, if not
    padded.
    """

    prompts: tuple[int, ...]
    lengths: tuple[int, ...]
    starts: Tensor
    stops: Tensor
    width: int
    packed: Packed | None = None

    @classmethod
    def of(
        cls,
        prompts: Sequence[int],
        lengths: Sequence[int],
        device: torch.device,
        *,
        row_len: int,
        packs: bool = False,
    ) -> "Spans":
        """Of rows [R, ``row_len``] on ``device``. ``packs``: backbones are given no padding."""
        return cls(
            prompts=tuple(prompts),
            lengths=tuple(lengths),
            starts=torch.tensor(prompts, device=device),
            stops=torch.tensor(lengths, device=device),
            width=max(n - p for p, n in zip(prompts, lengths, strict=True)),
            packed=Packed.of(lengths, row_len, device) if packs else None,
        )

    def rows(self, numbers: Sequence[int], *, row_len: int) -> "Spans":
        """Of some of the rows, which are [., ``row_len``] still."""
        return Spans.of(
            [self.prompts[i] for i in numbers],
            [self.lengths[i] for i in numbers],
            self.starts.device,
            row_len=row_len,
            packs=self.packed is not None,
        )

    @property
    def mask(self) -> Tensor:
        """[R, N] fp32: 1 where a token of the response is real."""
        there = torch.arange(self.width, device=self.starts.device)
        return (there < (self.stops - self.starts).unsqueeze(1)).float()

    def index(self, row_len: int, shift: int) -> Tensor:
        """[R * N]: places of response tokens, ``shift`` further, in flattened rows of ``row_len``.

        Past the end of a response it is any place of the row: the mask leaves that out.
        """
        device = self.starts.device
        first = self.starts.unsqueeze(1) + shift
        within = (first + torch.arange(self.width, device=device)).clamp(max=row_len - 1)
        rows = torch.arange(len(self.prompts), device=device).unsqueeze(1)
        return (rows * row_len + within).flatten()

    def tensors(self) -> tuple[Tensor, ...]:
        """All on the device, for the ledger."""
        packed = () if self.packed is None else self.packed.tensors()
        return self.starts, self.stops, *packed


Where = int | Spans
"""Tokens of every row's prompt where all have as many and rows are full; else where they lie."""


def at_responses(values: Tensor, where: Where, *, shift: int = 0) -> Tensor:
    """[R, N, ...] of ``values`` [R, L, ...]: those at each row's response tokens, or at the tokens
    that are ``shift`` (0 or less) places before these.
    """
    if isinstance(where, int):
        return values[:, where + shift : shift or None]
    rows, row_len = values.shape[:2]
    found = values.flatten(0, 1).index_select(0, where.index(row_len, shift))
    return found.view(rows, where.width, *values.shape[2:])


def spread(values: Tensor, where: Where, row_len: int) -> Tensor:
    """[R, ``row_len``] of ``values`` [R, N] of response tokens: each at the token before its own,
    from which it is foretold; zero elsewhere. Past the end of a response they must be zero.
    """
    rows = values.new_zeros(len(values), row_len)
    if isinstance(where, int):
        rows[:, where - 1 : -1] = values
        return rows
    rows.view(-1).index_add_(0, where.index(row_len, -1), values.flatten())
    return rows


def ends(values: Tensor, where: Where) -> Tensor:
    """[R] of ``values`` [R, L]: that of each row's last token."""
    if isinstance(where, int):
        return values[:, -1]
    return values.gather(1, (where.stops - 1).unsqueeze(1)).squeeze(1)


def moved(where: Where, by: int) -> Where:
    """The same in rows whose tokens stand ``by`` places further on."""
    if isinstance(where, int):
        return where + by
    return replace(where, starts=where.starts + by, stops=where.stops + by, packed=None)


def packed_of(where: Where) -> Packed | None:
    """How a backbone is given the rows, if not as they are."""
    return None if isinstance(where, int) else where.packed
