"""How long the texts of pairs are in tokens, and how far the two answers are the same."""

__all__ = ["Lengths", "measure"]

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from alignmeter.batches.preferences import Pair
from alignmeter.batches.texts import MappedTexts, Texts
from alignmeter.batches.tokenizer import ByteTokenizer, Tokenizer

_PART = 1024
"""Pairs whose tokens are held at once."""
Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Of all pairs of a file. ``prompts``: tokens of each prompt, int32 [pairs].

    ``equal_once_cut``: a function of N that says for each pair whether the first N tokens of its
    answers are the same and no more is left of either, bool [pairs].
    """

    prompts: Numbers
    equal_once_cut: Callable[[int], Numbers]


def measure(texts: Texts, tokenizer: Tokenizer) -> Lengths:
    """Bytes are counted where the texts lie; the tokens of other tokenizers are made and let go."""
    if isinstance(texts, MappedTexts) and tokenizer.name == ByteTokenizer.name:
        return _of_bytes(texts)
    return _of_tokens(texts, tokenizer)


def _of_bytes(texts: MappedTexts) -> Lengths:
    import pyarrow
    from pyarrow import compute

    table = texts.table.cast(
        pyarrow.schema([(n, pyarrow.large_binary()) for n in texts.table.schema.names])
    )

    def equal_once_cut(count: int) -> Numbers:
        chosen, rejected = (
            compute.binary_slice(table[n], 0, count) for n in ("chosen", "rejected")
        )
        found: Numbers = compute.equal(chosen, rejected).to_numpy()
        return found

    prompts: Numbers = compute.binary_length(table["prompt"]).to_numpy().astype(np.int32)
    return Lengths(prompts=prompts, equal_once_cut=equal_once_cut)


def _of_tokens(texts: Texts, tokenizer: Tokenizer) -> Lengths:
    """All answers are encoded: how many characters a token takes up is the tokenizer's secret."""
    prompts, common = [], []
    for part in _parts(texts):
        prompts += [len(ids) for ids in tokenizer.encode_all([pair.prompt for pair in part])]
        chosen = tokenizer.encode_all([pair.chosen for pair in part])
        rejected = tokenizer.encode_all([pair.rejected for pair in part])
        common += [_common(a, b) for a, b in zip(chosen, rejected, strict=True)]
    same = np.array(common, dtype=np.int64)
    return Lengths(
        prompts=np.array(prompts, dtype=np.int32), equal_once_cut=lambda count: same >= count
    )


def _parts(texts: Texts) -> Iterator[list[Pair]]:
    left = (texts[row] for row in range(len(texts)))
    while part := list(islice(left, _PART)):
        yield part


def _common(chosen: list[int], rejected: list[int]) -> int:
    """Tokens that both begin with; more than any cut where the two are equal."""
    if chosen == rejected:
        return np.iinfo(np.int64).max
    pairs = zip(chosen, rejected, strict=False)
    shorter = min(len(chosen), len(rejected))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
