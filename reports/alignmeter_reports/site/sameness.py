"""Whether a page that is there was made from the same: records, links, prices and program."""

__all__ = ["is_made_from", "made_from"]

import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from alignmeter import __version__
from alignmeter.records.record import encode_record
from alignmeter_reports.page import Neighbours
from alignmeter_reports.view import Sources

_HEAD_BYTES = 4096
"""The digest stands in the first lines of a page."""


def made_from(sources: Sources, around: Neighbours) -> str:
    """SHA-256, in hex, of all that decides what the page says."""
    found = hashlib.sha256(_program().encode())
    loaded = sources.loaded
    links = (around.index, around.earlier, around.later, *sorted(around.cells.items()))
    stored = (loaded.refused, loaded.portability, loaded.predictions, loaded.capacity,
              loaded.reported)  # fmt: skip
    for said in (sources.title, sources.prices, links, stored):
        found.update(repr(said).encode("utf-8", "backslashreplace"))
    for record in loaded.records:
        found.update(encode_record(record))
    return found.hexdigest()


def is_made_from(path: Path, digest: str) -> bool:
    """Whether the file is there and says so of itself."""
    try:
        with path.open("rb") as file:
            return f'content="{digest}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


@cache
def _program() -> str:
    """The version, and a digest of this package's files: templates change between versions."""
    found = hashlib.sha256(__version__.encode())
    for file in _files(resources.files("alignmeter_reports")):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _files(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            found += _files(entry)
        elif entry.is_file():
            found.append(entry)
    return found
