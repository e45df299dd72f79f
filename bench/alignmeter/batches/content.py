"""What the bytes of a file are: compressed, text of some encoding, Parquet. Names may be wrong."""

__all__ = ["Content", "content_of", "kind_of_name"]

import gzip
import io
import json
import lzma
import re
import zlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from alignmeter.errors import InputError

Kind = Literal["jsonl", "json", "csv", "tsv", "parquet"]
_KINDS: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".lz4")
_Codec = Literal["gzip", "zstd", "bz2", "lz4", "xz"]
_CODECS: dict[bytes, _Codec] = {
    b"\x1f\x8b": "gzip",  # RFC 1952
    b"\x28\xb5\x2f\xfd": "zstd",  # RFC 8878
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",  # The .xz File Format 1.1
    b"\x04\x22\x4d\x18": "lz4",  # LZ4 Frame Format
}
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""Begins a frame without data, of Zstandard or LZ4; its size follows (RFC 8878, 3.1.2)."""
_PARQUET = b"PAR1"  # parquet-format, README: the first and the last four bytes
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x93NUMPY": "a NumPy array",
    b"version https://git-lfs": "a pointer of Git LFS, without its data",
    b"%PDF": "a PDF",
}
"""First bytes of what is no table of preferences, and its name for people."""
_WANTED = "give JSON Lines, JSON, CSV, TSV or Parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """``data``: unpacked; UTF-8 without a byte-order mark, unless it is Parquet."""

    kind: Kind
    data: bytes


def kind_of_name(name: str) -> Kind | None:
    """What a file's name says it holds, in capitals or not, compressed or not; else ``None``."""
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return _KINDS.get(suffixes[-1]) if suffixes else None


def content_of(raw: bytes, name: str) -> Content:
    """The table that the bytes hold. A name without a kind is taken for JSON Lines.

    Raises `InputError` for what is damaged or something else, naming it for what it is.
    """
    data = _unpacked(raw, name)
    kind: Kind = kind_of_name(name) or "jsonl"
    if data.startswith(_PARQUET):
        return Content(kind="parquet", data=data)
    for magic, what in _FOREIGN.items():
        if data.startswith(magic):
            raise InputError(f"{name}: this is {what}; {_WANTED}")
    if kind == "parquet":
        raise InputError(f"{name}: not a Parquet file that can be read: it does not begin as one")
    data = _as_utf8(data, name)
    if kind == "jsonl" and data.lstrip().startswith(b"["):
        kind = "json"
    return Content(kind=kind, data=data)


def _unpacked(raw: bytes, name: str) -> bytes:
    """Compressed data by their first bytes, whatever the name says."""
    raw = _without_skippable(raw)
    codec = _codec_of(raw)
    if codec is None:
        return raw
    try:
        data = _decompressed(raw, codec)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise InputError(
            f"{name}: {codec} data that cannot be unpacked: {_first_line(error)}; copy it again"
        ) from error

    if _codec_of(data) is not None:
        raise InputError(f"{name}: {_codec_of(data)} data within {codec} data; unpack it once")
    return data


def _without_skippable(raw: bytes) -> bytes:
    start = 0
    while _SKIPPABLE.match(raw, start):
        start += 8 + int.from_bytes(raw[start + 4 : start + 8], "little")
    return raw[start:]


def _codec_of(raw: bytes) -> _Codec | None:
    return next((codec for magic, codec in _CODECS.items() if raw.startswith(magic)), None)


def _decompressed(raw: bytes, codec: _Codec) -> bytes:
    if codec == "gzip":
        return gzip.decompress(raw)  # it takes the zero bytes that tapes and block devices add
    if codec == "xz":
        return lzma.decompress(raw)
    import pyarrow

    with pyarrow.CompressedInputStream(io.BytesIO(raw), codec) as stream:
        return bytes(stream.read())


def _as_utf8(data: bytes, name: str) -> bytes:
    """The text again as UTF-8. UTF-16 and UTF-32 are known by mark or by their zero bytes."""
    encoding = json.detect_encoding(data[:4]) if data else "utf-8"
    if encoding == "utf-8":
        return data
    if encoding == "utf-8-sig":
        return data[3:]
    try:
        return data.decode(encoding).encode()
    except UnicodeError as error:
        raise InputError(
            f"{name}: neither UTF-8 nor whole {encoding.upper()}: {_first_line(error)}; "
            "save it as UTF-8"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
