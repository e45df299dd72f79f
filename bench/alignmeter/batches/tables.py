"""Rows of CSV and TSV: every field is text, and what is written otherwise is refused."""

__all__ = ["table_rows"]

import csv
import io
import re
import sys
from collections.abc import Container, Iterator, Sequence
from typing import Any

from alignmeter.batches.content import Content
from alignmeter.errors import InputError
from alignmeter.text import shown_path

_ESCAPED = re.compile(r'\\"(?![",\t\r\n]|\Z)')
r"""``\"`` within a field. RFC 4180 doubles a quote; after one that ends a field is a delimiter."""
_BARE_RETURN = re.compile(r"\r(?!\n)")


def table_rows(
    content: Content, name: str, columns: Container[str]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Each row with its place; an absent field is null. Row 1 is the one after the names.

    ``columns``: those that are asked for, small letters. Raises `InputError` for what is no table,
    and for one of these columns that is there twice.
    """
    kind = content.kind.upper()
    try:
        lines = _lines(content)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: not {kind} that can be read: not UTF-8: {error.reason}; save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise InputError(f"{name}: not {kind} that can be read: {error}") from error
    names = lines[0]
    twice = [n for n in dict.fromkeys(names) if names.count(n) > 1 and n.lower() in columns]
    if twice:
        raise InputError(
            f"{name}: column {shown_path(twice[0], 40)!r} is there twice; keep one of them"
        )
    for number, values in enumerate(lines[1:], 1):
        row: dict[str, Any] = dict.fromkeys(names)
        row.update(zip(names, values, strict=False))
        yield row, f"{name}, row {number}"


def _lines(content: Content) -> Sequence[list[str]]:
    """The names, and the fields of each row. Raises `csv.Error` for what is no table."""
    text = content.data.decode()
    if escaped := _ESCAPED.search(text):
        number = text.count("\n", 0, escaped.start()) + 1
        raise csv.Error(f"line {number} has a quote after a backslash; write a quote twice instead")
    first = re.search(r"\r?\n|\r", text)
    mark = _free_character(text) if first and first[0] != "\r" else ""
    if mark:  # lines do not end with a return alone: it is part of a field that nobody quoted
        text = _BARE_RETURN.sub(mark, text)
    delimiter = "\t" if content.kind == "tsv" else ","
    longest = csv.field_size_limit(sys.maxsize)
    lines: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        for line in filter(None, reader):
            if lines and len(line) > len(lines[0]):
                raise csv.Error(
                    f"Expected {len(lines[0])} fields in line {reader.line_num}, saw {len(line)}"
                )
            lines.append([field.replace(mark, "\r") for field in line] if mark else line)
    finally:
        csv.field_size_limit(longest)
    if not lines:
        raise csv.Error("no columns in it")
    return lines


def _free_character(text: str) -> str:
    """One of Unicode's noncharacters that the text does not have; nothing if none is needed."""
    if _BARE_RETURN.search(text) is None:
        return ""
    return next(c for c in map(chr, range(0xFDD0, 0xFDF0)) if c not in text)
