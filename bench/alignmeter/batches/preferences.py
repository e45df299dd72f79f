"""Preference files: JSON Lines or Parquet of prompt, chosen, rejected, as text or conversations."""

__all__ = ["Pair", "read_preferences"]

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from alignmeter.cells.places import place_of
from alignmeter.errors import InputError

PACKAGED = "packaged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One preference: two answers to one prompt."""

    prompt: str
    chosen: str
    rejected: str


def preference_bytes(data: str) -> bytes:
    """The file's bytes; ``packaged`` is the set that comes with alignmeter.

    Raises `InputError` if the file cannot be read.
    """
    if data == PACKAGED:
        return (resources.files("alignmeter.batches") / "preferences.jsonl").read_bytes()
    try:
        return Path(place_of(data)).read_bytes()
    except OSError as error:
        raise InputError(f"{data}: cannot be read: {error.strerror or error}") from error


def read_preferences(data: str) -> list[Pair]:
    """All pairs of a file, in order.

    Plain rows hold three strings. Conversational rows hold lists of ``{"role", "content"}``; a row
    without ``prompt`` takes the messages that both answers share as the prompt.

    A file whose name ends in ``.parquet`` has them as columns.

    Raises `InputError` naming file, line or row, and field.
    """
    rows = _parquet_rows(data) if data.endswith(".parquet") else _json_rows(data)
    pairs = [_pair(row, where) for row, where in rows]
    if not pairs:
        raise InputError(f"{data}: no preference rows; give at least one pair")
    return pairs


def _json_rows(data: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, line in enumerate(preference_bytes(data).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{data}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: want an object with prompt, chosen and rejected")
        yield row, where


def _parquet_rows(data: str) -> Iterator[tuple[dict[str, Any], str]]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(preference_bytes(data)))
        names = [n for n in ("prompt", "chosen", "rejected") if n in file.schema_arrow.names]
        number = 0
        for part in file.iter_batches(columns=names):
            for row in part.to_pylist():
                number += 1
                # A column that other rows use is null in a row without that field.
                yield {k: v for k, v in row.items() if v is not None}, f"{data}, row {number}"
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{data}: not a Parquet file that can be read: {first}") from error


def _pair(row: dict[str, Any], where: str) -> Pair:
    if "prompt" not in row and isinstance(row.get("chosen"), list):
        row = _with_shared_prompt(row, where)
    texts = {}
    for name in ("prompt", "chosen", "rejected"):
        if name not in row:
            raise InputError(f"{where}: field {name!r} is missing")
        texts[name] = _text(row[name], f"{where}: field {name!r}")
    if isinstance(row["prompt"], list):
        texts["prompt"] += "\nassistant: "
    return Pair(**texts)


def _with_shared_prompt(row: dict[str, Any], where: str) -> dict[str, Any]:
    chosen, rejected = row["chosen"], row.get("rejected")
    if not isinstance(rejected, list):
        raise InputError(f"{where}: field 'rejected' must be a list of messages like 'chosen'")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise InputError(f"{where}: field 'prompt' is missing and the answers share no message")
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _text(value: object, where: str) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, list):
        messages = [_message(message, f"{where}, message {i}") for i, message in enumerate(value)]
        one_answer = len(messages) == 1 and messages[0][0] == "assistant"
        text = messages[0][1] if one_answer else "\n".join(f"{r}: {c}" for r, c in messages)
    else:
        raise InputError(f"{where} must be text or a list of messages, got {type(value).__name__}")
    if not text:
        raise InputError(f"{where} is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} is not valid Unicode: {error.reason}") from error
    return text


def _message(message: object, where: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise InputError(f"{where} must be an object with role and content")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise InputError(f"{where} must have role and content as text")
    return role, content
