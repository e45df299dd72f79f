"""Tokenizers: bytes for random models, the checkpoint's own for real ones."""

__all__ = ["EOS", "FIRST_BYTE", "PAD", "VOCAB_SIZE", "ByteTokenizer", "Tokenizer", "open_tokenizer"]

from collections.abc import Iterable
from typing import Any, Protocol

from alignmeter.architectures.base import EOS_TOKEN as EOS
from alignmeter.architectures.base import PAD_TOKEN as PAD
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError
from alignmeter.imports import quiet
from alignmeter.text import shortened

FIRST_BYTE = 3
"""Ids 0, 1 and 2 are padding, begin and end of text."""
VOCAB_SIZE = FIRST_BYTE + 256


class Tokenizer(Protocol):
    """Text to ids below ``vocab_size``. ``eos`` ends a response, ``pad`` fills rows up."""

    name: str
    vocab_size: int
    eos: int
    pad: int

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without special tokens."""
        ...

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, the same as one by one."""
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

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; special tokens and ids past the last byte are dropped."""
        data = bytes(i - FIRST_BYTE for i in ids if FIRST_BYTE <= i < VOCAB_SIZE)
        return data.decode(errors="replace")


class _CheckpointTokenizer:
    name = "checkpoint"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
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


def open_tokenizer(cell: Cell) -> Tokenizer:
    """The tokenizer of the cell's checkpoint where it brings one, else bytes.

    Raises `CellError` for a tokenizer that cannot be read or cannot end a text.
    """
    if cell.model == RANDOM:
        return ByteTokenizer()
    checkpoint = find_checkpoint(cell.model)
    if not checkpoint.has_tokenizer:
        return ByteTokenizer()
    with quiet():
        from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)
    except Exception as error:  # whatever its files make the library raise
        said = shortened(next(iter(str(error).splitlines()), type(error).__name__), 120)
        raise CellError(
            "unsupported",
            "impossible",
            f"the tokenizer of {cell.model} cannot be read: {said}; use --data synthetic",
        ) from error
    if tokenizer.eos_token_id is None:
        raise CellError(
            "unsupported",
            "impossible",
            f"the tokenizer of {cell.model} has no end-of-text token; use --data synthetic",
        )
    return _CheckpointTokenizer(tokenizer)
