"""Equal parts of many records, kept once: a year of nights says the same of its machine each time.

Of 100 000 records the versions, kernel paths and cells alone would fill a gigabyte.
"""

__all__ = ["Sharing"]

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record

_OF_PROVENANCE = (
    "versions", "kernel_path", "hyperparameters", "peft", "data", "environment", "placement",
)  # fmt: skip
_WORDS = ("commit", "environment_digest", "host", "os", "device", "driver", "command")


class Sharing:
    """What was seen so far. Mappings keep the order of their items."""

    def __init__(self) -> None:
        self._cells: dict[Cell, Cell] = {}
        self._words: dict[str, str] = {}
        self._mappings: dict[bytes, Mapping[str, Any]] = {}

    def record(self, record: Record) -> Record:
        """An equal record, made of parts that were seen before where there are such."""
        place, telemetry = record.provenance, record.telemetry
        changes: dict[str, Any] = {
            name: self._mapping(getattr(place, name)) for name in _OF_PROVENANCE
        }
        for name in _WORDS:
            word = getattr(place, name)
            changes[name] = word if word is None else self._words.setdefault(word, word)
        return replace(
            record,
            cell=self._cells.setdefault(record.cell, record.cell),
            provenance=replace(place, **changes),
            telemetry=replace(telemetry, missing=self._mapping(telemetry.missing)),
            validity=self._mapping(record.validity),
        )

    def _mapping(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        # As JSON, in which 1 and 1.0 are not the same.
        return self._mappings.setdefault(msgspec.json.encode(found), found)
