"""Tokenizers: bytes for random models, the checkpoint's own for real ones."""

__all__ = [
    "DRAWN_IDS",
    "EOS",
    "FIRST_BYTE",
    "PAD",
    "VOCAB_SIZE",
    "ByteTokenizer",
    "SpecialIds",
    "Tokenizer",
    "open_tokenizer",
    "same_tokens",
    "tokenizer_obstacle",
]

from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol, cast

from alignmeter.architectures.base import EOS_TOKEN as EOS
from alignmeter.architectures.base import PAD_TOKEN as PAD
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.checkpoint.config import transformers_there
from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError
from alignmeter.streams import quiet

FIRST_BYTE = 3
"""Ids 0, 1 and 2 are padding, begin and end of text."""
VOCAB_SIZE = FIRST_BYTE + 256


class SpecialIds(Protocol):
    """Where ids are from. ``eos`` ends a response, ``pad`` fills rows up."""

    name: str
    eos: int
    pad: int


class _DrawnIds:
    name = "synthetic"
    eos = EOS
    pad = PAD


DRAWN_IDS: SpecialIds = _DrawnIds()
"""Of ids that are drawn, by no tokenizer."""


class Tokenizer(SpecialIds, Protocol):
    """Text to ids below ``vocab_size``."""

    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without special tokens."""
        ...

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, the same as one by one."""
        ...

    def decode_all(self, rows: list[list[int]]) -> list[str]:
        """The text of each row of ids, without special tokens and ids that mean nothing."""
        ...


class ByteTokenizer:
    """One id in [3, 259) per UTF-8 byte: no vocabulary file, no download, no unknown character."""

    name = "bytes"
    vocab_size = VOCAB_SIZE
    eos = EOS
    pad = PAD

    def encode(self, text: str) -> list[int]:
        """The bytes of ``text``."""
        return [FIRST_BYTE + byte for byte in text.encode()]

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The bytes of each text."""
        return [self.encode(text) for text in texts]

    def decode_all(self, rows: list[list[int]]) -> list[str]:
        """The text of each row of ids."""
        return [self.decode(ids) for ids in rows]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; special tokens and ids past the last byte are dropped."""
        data = bytes(i - FIRST_BYTE for i in ids if FIRST_BYTE <= i < VOCAB_SIZE)
        return data.decode(errors="replace")


class _CheckpointTokenizer:
    name = "checkpoint"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = 1 + max(tokenizer.get_vocab().values(), default=-1)
        self.eos: int = tokenizer.eos_token_id
        self.pad: int = self.eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        # Not verbose: it warns of texts that are longer than the model's, which are cut here.
        found = self._tokenizer(texts, add_special_tokens=False, verbose=False)
        ids: list[list[int]] = found["input_ids"]
        return ids

    def decode_all(self, rows: list[list[int]]) -> list[str]:
        # An embedding may have more rows than the tokenizer has ids, and a policy samples them too.
        there = [[token for token in ids if token < self.vocab_size] for ids in rows]
        texts: list[str] = self._tokenizer.batch_decode(there, skip_special_tokens=True)
        return texts


def same_tokens(one: str, other: str) -> bool:
    """Whether the tokenizers of two checkpoints give every token the same id; also where either
    brings none.

    Raises `InputError` for tokenizer files that hold none.
    """
    if not all(find_checkpoint(model).has_tokenizer for model in (one, other)):
        return True
    found: list[dict[str, int]] = [_opened(model).get_vocab() for model in (one, other)]
    return found[0] == found[1]


def open_tokenizer(cell: Cell) -> Tokenizer:
    """The tokenizer of the cell's checkpoint where it brings one, else bytes.

    Raises `CellError` for a tokenizer that cannot end a text or has ids that the model has not, and
    `InputError` for files that hold none.
    """
    tokenizer = _tokenizer(cell)
    text = tokenizer if isinstance(tokenizer, str) else _too_large(tokenizer, cell)
    if text is not None:
        raise CellError("unsupported", "impossible", text)
    return cast(Tokenizer, tokenizer)


def tokenizer_obstacle(cell: Cell) -> str | None:
    """Why the cell's text has no ids that its model knows, or ``None``; known before any worker.

    Raises `InputError` for tokenizer files that hold none.
    """
    tokenizer = _tokenizer(cell)
    return tokenizer if isinstance(tokenizer, str) else _too_large(tokenizer, cell)


def _tokenizer(cell: Cell) -> Tokenizer | str:
    """The tokenizer, or why it can make no rows."""
    if cell.model == RANDOM or not find_checkpoint(cell.model).has_tokenizer:
        return ByteTokenizer()
    tokenizer = _opened(cell.model)
    if tokenizer.eos_token_id is None:
        return f"the tokenizer of {cell.model} has no end-of-text token; use --data synthetic"
    return _CheckpointTokenizer(tokenizer)


@cache
def _opened(model: str) -> Any:
    transformers_there()
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(
                find_checkpoint(model).folder, trust_remote_code=False
            )
    except Exception as error:  # readers of vocabularies raise errors of many libraries
        raise refused(
            model,
            f"its tokenizer files cannot be read ({one_line(error)}); fetch them again, or use "
            "--data synthetic",
        ) from error


def _too_large(tokenizer: Tokenizer, cell: Cell) -> str | None:
    """Of random models every shape has room for bytes."""
    if cell.model == RANDOM:
        return None
    ids = find_checkpoint(cell.model).vocab_size
    if tokenizer.vocab_size <= ids:
        return None
    if isinstance(tokenizer, ByteTokenizer):
        return (
            f"the checkpoint brings no tokenizer, and its {ids} ids are too few for bytes, "
            f"which need {tokenizer.vocab_size}; use --data synthetic"
        )
    return (
        f"the tokenizer of {cell.model} has {tokenizer.vocab_size} ids, its embedding only {ids}; "
        "resize the embedding (resize_token_embeddings), or use --data synthetic"
    )
