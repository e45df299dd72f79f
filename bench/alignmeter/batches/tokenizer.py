"""A byte-level tokenizer: no vocabulary file, no download, no unknown character."""

__all__ = ["EOS", "FIRST_BYTE", "PAD", "VOCAB_SIZE", "decode", "encode"]

from collections.abc import Iterable

from alignmeter.architectures.base import EOS_TOKEN as EOS
from alignmeter.architectures.base import PAD_TOKEN as PAD

FIRST_BYTE = 3
"""Ids 0, 1 and 2 are padding, begin and end of text."""
VOCAB_SIZE = FIRST_BYTE + 256


def encode(text: str) -> list[int]:
    """One id in [3, 259) per UTF-8 byte of ``text``."""
    return [FIRST_BYTE + byte for byte in text.encode()]


def decode(ids: Iterable[int]) -> str:
    """The text of ``ids``; special tokens and ids past the last byte are dropped."""
    data = bytes(i - FIRST_BYTE for i in ids if FIRST_BYTE <= i < VOCAB_SIZE)
    return data.decode(errors="replace")
