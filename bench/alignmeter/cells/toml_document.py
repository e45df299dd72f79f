"""TOML files that people write: ``schema`` is looked at first, then a type says what is right."""

__all__ = ["decode_toml", "read_table", "read_toml"]

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from alignmeter.errors import InputError, known
from alignmeter.text import shortened

_SCHEMA = 1
_LONGEST = 60
"""Characters of a value in a sentence."""
T = TypeVar("T", bound=msgspec.Struct)


def read_toml(path: Path, kind: type[T]) -> T:
    """The file as a ``kind``. Raises `InputError` for what cannot be read, and as `decode_toml`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode_toml(data, kind, str(path))


def decode_toml(data: bytes, kind: type[T], where: str) -> T:
    """The document as a ``kind``, whose fields are its keys beside ``schema = 1``.

    What would be right is the ``description`` of a field's `msgspec.Meta`. Raises `InputError`
    naming ``where``, the key and its value, what would be right, or the known keys.
    """
    try:
        # With or without a byte order mark, which editors put there: TOML 1.1 ignores it.
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 4300 digits
        raise InputError(f"{where}: not valid TOML: {error}") from error
    said = f"is {_shown(document['schema'])}" if "schema" in document else "is missing"
    schema = document.pop("schema", None)
    if type(schema) is not int or schema != _SCHEMA:  # neither true nor 1.0, which equal 1
        raise InputError(f"{where}: schema {said}; this version reads schema = {_SCHEMA}")
    return read_table(document, kind, where, ("schema",))


def read_table(table: Mapping[str, Any], kind: type[T], where: str, more: Sequence[str] = ()) -> T:
    """One table of a document as a ``kind``, whose fields are its keys; ``more`` were read before.

    Raises `InputError` as `decode_toml`.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {next(_faults(table, kind, more), error)}") from error


def _faults(
    document: Mapping[str, Any], kind: type[msgspec.Struct], more: Sequence[str]
) -> Iterator[str]:
    """What msgspec says of fields, in words for who wrote the file."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name in document:
        if name not in fields:
            yield f"unknown key {_shown(name)}; {known([*more, *fields], name)}"
    for name, field in fields.items():
        if name in document:
            yield from _faults_of(name, document[name], field.type)
        elif field.required:
            yield f"{name} is missing; {_right(field.type)}"


def _faults_of(name: str, value: object, kind: Any) -> Iterator[str]:
    """The same of one value; in a table, of each of its own."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) is dict and isinstance(value, dict):
        within = get_args(bare)[1]
        pairs = ((f"{name}.{shortened(key, _LONGEST)}", item) for key, item in value.items())
        found = [fault for key, item in pairs for fault in _faults_of(key, item, within)]
        if found:
            yield from found
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        yield f"{name} is {_shown(value)}; {_right(kind)}"


def _right(kind: Any) -> str:
    """The first description in an annotated type, the outermost before those within."""
    found = (meta.description for meta in getattr(kind, "__metadata__", ()))
    return next(filter(None, (*found, *map(_right, get_args(kind)))), "")


def _shown(value: object) -> str:
    return shortened(repr(value), _LONGEST)
