"""How long the texts of pairs are in tokens, and how far the two answers are the same."""

__all__ = ["Lengths", "Numbers", "lengths_of_table", "measure"]

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

    ``answers``: tokens of chosen and rejected, int32 [pairs, 2], -1 where there is none.
    ``equal_once_cut``: a function of N, one or of each pair, that says for each pair whether the
    first N tokens of its answers are the same and no more is left of either, bool [pairs].
    """

    prompts: Numbers
    answers: Numbers
    equal_once_cut: Callable[[int | Numbers], Numbers]

    def cut(self, prompt_len: int, seq_len: int, *, bare: bool = False) -> Numbers:
        """int32 [pairs, 3]: tokens of each prompt's last ``prompt_len`` at most, and of its rows
        with either answer and an end of text, ``seq_len`` at most; 0 where there is no answer.
        ``bare``: rows are prompts alone.
        """
        prompts = np.minimum(self.prompts, prompt_len)[:, None]
        if bare:
            return np.repeat(prompts, 3, axis=1)
        rows = np.minimum(prompts + self.answers + 1, seq_len)
        return np.concatenate([prompts, np.where(self.answers >= 0, rows, 0)], axis=1).astype(
            np.int32
        )


def lengths_of_table(table: Numbers) -> Lengths:
    """Of drawn tokens, prompt, chosen and rejected, int32 [pairs, 3]: no two answers are alike."""
    return Lengths(
        prompts=table[:, 0],
        answers=table[:, 1:],
        equal_once_cut=lambda count: np.broadcast_to(np.equal(count, 0), len(table)),
    )


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

    def equal_once_cut(count: int | Numbers) -> Numbers:
        least = count if isinstance(count, int) else int(count.min(initial=0))
        sides = [compute.binary_slice(table[n], 0, least) for n in ("chosen", "rejected")]
        found: Numbers = compute.equal(*sides).fill_null(False).to_numpy().copy()
        if not isinstance(count, int):  # few are equal so far: each is looked at to its own cut
            for i in np.flatnonzero(found).tolist():
                chosen, rejected = (table[n][i].as_py()[: count[i]] for n in ("chosen", "rejected"))
                found[i] = chosen == rejected
        return found

    def lengths(name: str) -> Numbers:
        found: Numbers = compute.binary_length(table[name]).fill_null(-1).to_numpy()
        return found.astype(np.int32)

    answers = np.stack([lengths("chosen"), lengths("rejected")], axis=1)
    return Lengths(prompts=lengths("prompt"), answers=answers, equal_once_cut=equal_once_cut)


def _of_tokens(texts: Texts, tokenizer: Tokenizer) -> Lengths:
    """All answers are encoded: how many characters a token takes up is the tokenizer's secret."""
    prompts, common, answers = [], [], []
    for part in _parts(texts):
        prompts += [len(ids) for ids in tokenizer.encode_all([pair.prompt for pair in part])]
        chosen = tokenizer.encode_all([pair.chosen or "" for pair in part])
        rejected = tokenizer.encode_all([pair.rejected or "" for pair in part])
        answers += [
            (-1 if pair.chosen is None else len(a), -1 if pair.rejected is None else len(b))
            for pair, a, b in zip(part, chosen, rejected, strict=True)
        ]
        common += [_common(a, b) for a, b in zip(chosen, rejected, strict=True)]
    same = np.array(common, dtype=np.int64)
    return Lengths(
        prompts=np.array(prompts, dtype=np.int32),
        answers=np.array(answers, dtype=np.int32).reshape(-1, 2),
        equal_once_cut=lambda count: same >= count,
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
