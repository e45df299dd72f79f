"""Stored documents: strict JSON with a ``schema_version`` that is looked at before the rest."""

__all__ = ["decode_versioned", "encode_document"]

from typing import TypeVar

import msgspec

from alignmeter.errors import InputError

_ENCODER = msgspec.json.Encoder()
T = TypeVar("T")


class _Version(msgspec.Struct):
    schema_version: int | None = None


def encode_document(document: msgspec.Struct) -> bytes:
    """Strict JSON (no NaN), indented for people, with a newline at the end."""
    return msgspec.json.format(_ENCODER.encode(document), indent=1) + b"\n"


def decode_versioned(
    data: bytes, decoder: msgspec.json.Decoder[T], version: int, where: str, what: str
) -> T:
    """The document, if it has that version. ``what``: what it should be, such as ``a record``.

    Raises `InputError` that names ``where`` and the wrong field.
    """
    try:
        found = msgspec.json.decode(data, type=_Version).schema_version
        if found != version:
            raise InputError(f"{where}: schema_version is {found!r}; this version reads {version}")
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not {what}: {error}") from error
