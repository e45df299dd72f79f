"""Capacity: the largest batch and the longest sequence that ran within a limit of memory.

A checked and versioned type, as records are, so that a report can read it without torch.
"""

__all__ = [
    "SCHEMA_VERSION",
    "STEPS",
    "Capacity",
    "CapacityPoint",
    "CapacityTry",
    "SearchedAxis",
    "Searches",
    "TryStatus",
    "decode_capacity",
    "encode_capacity",
]

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.records.document import decode_versioned, encode_document
from alignmeter.records.migrations import CAPACITY_STEPS
from alignmeter.records.record import Provenance

SCHEMA_VERSION = 2
SearchedAxis = Literal["batch", "seq_len"]
TryStatus = Literal["ok", "oom", "over_limit", "timeout", "crashed", "unsupported"]
STEPS: Mapping[SearchedAxis, int] = {"batch": 1, "seq_len": 64}
"""Axis -> its values are searched in multiples of this."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class CapacityTry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value that was tried, in a worker process of its own.

    ``oom``: an allocation failed. ``over_limit``: it ran and needed more than the limit.
    ``peak_bytes``: the allocator's peak over one step. ``used_bytes``: what counts against the
    limit, on a CPU the same, on an accelerator what the device had in use. ``predicted_bytes``: the
    plan's peak, where the plan was asked. ``seconds``: how long the try took. ``text``: why it did
    not run.
    """

    value: Count
    status: TryStatus
    peak_bytes: Count | None = None
    used_bytes: Count | None = None
    predicted_bytes: Count | None = None
    seconds: float
    text: str | None = None


class CapacityPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One search: ``cell`` with its ``axis`` made as large as runs, all else equal.

    Values are multiples of ``step``. ``limit_given``: the limit is a user's, not the device's
    memory. ``planned``: what the plan said would fit, 0 for nothing; ``None`` without a plan, for
    which ``plan_text`` has the reason. ``largest``: the largest value that ran within the limit,
    with its ``peak_bytes``; ``refused``: the smallest that did not. ``reason``: why there is no
    largest value, or what else than memory ended the search.
    """

    cell: Cell
    axis: SearchedAxis
    step: Annotated[int, msgspec.Meta(ge=1, le=2**20)]
    memory_kind: str
    limit_bytes: Count | None
    limit_given: bool
    planned: Count | None = None
    plan_text: str | None = None
    largest: Count | None = None
    peak_bytes: Count | None = None
    refused: Count | None = None
    reason: str | None = None
    tries: list[CapacityTry] = []
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        """Hold the summary against the tries. Raises `ValueError` where they contradict."""
        ran = {t.value: t.peak_bytes for t in self.tries if t.status == "ok"}
        largest = max(ran, default=None)
        if self.largest != largest:
            raise ValueError(f"largest is {self.largest}, but the tries say {largest}")
        if self.peak_bytes != (None if largest is None else ran[largest]):
            raise ValueError(f"peak_bytes is not that of the try of {largest}")
        refused = min((t.value for t in self.tries if t.status != "ok"), default=None)
        if self.refused != refused:
            raise ValueError(f"refused is {self.refused}, but the tries say {refused}")


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All searches of a folder, and the version of alignmeter that made them."""

    schema_version: int
    alignmeter: str
    points: list[CapacityPoint]


@dataclass(kw_only=True, slots=True)
class Searches:
    """What one run of searches holds. ``limit_bytes``: as it was given. ``refused``: sentences on
    searches that could not begin.
    """

    folder: Path
    limit_bytes: int | None = None
    points: list[CapacityPoint] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


_DECODER = msgspec.json.Decoder(Capacity)


def encode_capacity(capacity: Capacity) -> bytes:
    """Strict JSON, indented for people, with a newline at the end."""
    return encode_document(capacity)


def decode_capacity(data: bytes, where: str) -> Capacity:
    """Parse and check one file. Raises `InputError` that names ``where`` and the wrong field."""
    return decode_versioned(
        data, _DECODER, SCHEMA_VERSION, where, "the capacity file of bench_capacity", CAPACITY_STEPS
    )
