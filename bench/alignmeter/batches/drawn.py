"""Tokens that are drawn: rows of T each, or as long as the texts of a packaged table."""

__all__ = ["SYNTHETIC", "DrawnTexts", "drawn_texts", "is_drawn", "recipe"]

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import torch

from alignmeter.batches.tokenizer import FIRST_BYTE
from alignmeter.cells.axes import LENGTHS, PATHS, no_table
from alignmeter.errors import InputError

SYNTHETIC = "synthetic"
"""Data of rows of T tokens."""
SYNTHETIC_PAIRS = 64
_MIXED = 1_000_003
"""Between two seeds, so that no row of one is a row of the next."""
Numbers = np.ndarray[Any, np.dtype[Any]]


def is_drawn(data: str) -> bool:
    """Whether no file holds the data."""
    return data == SYNTHETIC or data.startswith(LENGTHS)


def recipe(data: str) -> list[str | int]:
    """What identifies drawn data. Raises `InputError` for a table that is not there."""
    if data == SYNTHETIC:
        return [data, SYNTHETIC_PAIRS, FIRST_BYTE]
    return [LENGTHS, hashlib.sha256(_bytes_of(data)).hexdigest(), FIRST_BYTE]


def _bytes_of(data: str) -> bytes:
    if data not in PATHS["data"]:
        raise InputError(no_table(data))
    name = f"lengths_{data.removeprefix(LENGTHS)}.csv"
    return (resources.files("alignmeter.batches") / name).read_bytes()


@cache
def table_of(data: str) -> Numbers:
    """int32 [pairs, 3]: tokens of prompt, chosen and rejected answer, end of text left out."""
    lines = _bytes_of(data).decode().splitlines()
    rows = [line.split(",") for line in lines if line[:1].isdigit()]
    return np.array(rows, dtype=np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnTexts:
    """Ids of the table's pairs by number, the same for one seed on every machine."""

    table: Numbers
    vocab_size: int
    seed: int

    def ids(self, number: int) -> tuple[list[int], list[int], list[int]]:
        """Prompt, chosen and rejected answer of one of them."""
        generator = torch.Generator().manual_seed(self.seed * _MIXED + number)
        counts: list[int] = self.table[number].tolist()
        drawn = torch.randint(FIRST_BYTE, self.vocab_size, (sum(counts),), generator=generator)
        prompt, chosen, rejected = drawn.split(counts)
        return prompt.tolist(), chosen.tolist(), rejected.tolist()


def drawn_texts(data: str, *, vocab_size: int, seed: int) -> DrawnTexts:
    """Of a table of lengths. Raises `InputError` for one that is not there."""
    return DrawnTexts(table=table_of(data), vocab_size=vocab_size, seed=seed)
