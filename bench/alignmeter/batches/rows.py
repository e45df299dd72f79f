"""Pairs as rows of ids, made as they are asked for: of texts, or drawn."""

__all__ = ["DrawnRows", "Rows", "TextRows", "synthetic_rows"]

from dataclasses import dataclass
from typing import Protocol

import torch

from alignmeter.batches.drawn import SYNTHETIC_PAIRS, DrawnTexts
from alignmeter.batches.lengths import Numbers
from alignmeter.batches.texts import Texts
from alignmeter.batches.tokenizer import EOS, FIRST_BYTE, Tokenizer
from alignmeter.cells.cell import Cell


class Rows(Protocol):
    """Pairs as ids by number: a prompt and its response each, unpadded."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, number: int, /) -> tuple[list[int], list[int]]:
        """The chosen row of one of them and its rejected row; empty where it has no such answer."""
        ...


def _row(prompt: list[int], answer: list[int], eos: int, seq_len: int) -> list[int]:
    """Prompt and answer with an end of text, T tokens at most."""
    return [*prompt, *answer[: seq_len - len(prompt) - 1], eos]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRows:
    """Of texts. ``order``: the number in ``texts`` of each row. ``bare``: no row has an answer."""

    texts: Texts
    order: Numbers
    tokenizer: Tokenizer
    prompt_len: int
    seq_len: int
    bare: bool = False

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[list[int], list[int]]:
        pair = self.texts[int(self.order[number])]
        prompt = self.tokenizer.encode(pair.prompt)[-self.prompt_len :]
        if self.bare:
            return prompt, prompt
        return self._row(prompt, pair.chosen), self._row(prompt, pair.rejected)

    def _row(self, prompt: list[int], answer: str | None) -> list[int]:
        if answer is None:
            return []
        return _row(prompt, self.tokenizer.encode(answer), self.tokenizer.eos, self.seq_len)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnRows:
    """Of a table of lengths. ``order``: the number in it of each row."""

    texts: DrawnTexts
    order: Numbers
    prompt_len: int
    seq_len: int

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[list[int], list[int]]:
        prompt, *answers = self.texts.ids(int(self.order[number]))
        prompt = prompt[-self.prompt_len :]
        chosen, rejected = (_row(prompt, answer, EOS, self.seq_len) for answer in answers)
        return chosen, rejected


def synthetic_rows(
    cell: Cell, vocab_size: int, generator: torch.Generator
) -> list[tuple[list[int], list[int]]]:
    """Rows of T drawn tokens, of which each pair shares the first P."""
    shape = (2, max(SYNTHETIC_PAIRS, cell.batch), cell.seq_len)
    ids = torch.randint(FIRST_BYTE, vocab_size, shape, generator=generator)
    ids[1, :, : cell.prompt_len] = ids[0, :, : cell.prompt_len]
    return list(zip(ids[0].tolist(), ids[1].tolist(), strict=True))
