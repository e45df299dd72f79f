"""Stored documents: strict JSON with a ``schema_version`` that is looked at before the rest."""

__all__ = ["decode_versioned", "encode_document"]

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from alignmeter.errors import InputError
from alignmeter.text import shortened

_LONGEST = 60
"""Characters of a value in a sentence."""
_ENCODER = msgspec.json.Encoder()
T = TypeVar("T")


class _Version(msgspec.Struct):
    schema_version: Any = None


def encode_document(document: msgspec.Struct) -> bytes:
    """Strict JSON (no NaN), indented for people, with a newline at the end."""
    return msgspec.json.format(_ENCODER.encode(document), indent=1) + b"\n"


Steps = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
"""Schema version -> what brings a document of it to the next one."""


def decode_versioned(
    data: bytes,
    decoder: msgspec.json.Decoder[T],
    version: int,
    where: str,
    what: str,
    steps: Steps = MappingProxyType({}),
) -> T:
    """The document, of that version or of one from which ``steps`` lead to it.

    ``what``: what it should be, such as ``a record``. Raises `InputError` that names ``where`` and
    the wrong field.
    """
    try:
        found = msgspec.json.decode(data, type=_Version).schema_version
        whole = type(found) is int  # neither true nor 1.0, which equal 1
        if whole and found == version:
            return decoder.decode(data)
        if not whole or found not in steps:
            known = [str(number) for number in (*sorted(steps), version)]
            reads = " and ".join(filter(None, (", ".join(known[:-1]), known[-1])))
            said = shortened(repr(found), _LONGEST)
            raise InputError(f"{where}: schema_version is {said}; this version reads {reads}")
        document: T = msgspec.convert(_migrated(data, found, version, steps), decoder.type)
        return document
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not {what}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # in a step
        raise InputError(f"{where}: not {what} of schema {found}: {error!r}") from error


def _migrated(data: bytes, found: int, version: int, steps: Steps) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(data)
    for number in range(found, version):
        document = steps[number](document)
    return document
