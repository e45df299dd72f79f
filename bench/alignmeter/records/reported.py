"""Results that others reported: read from their files, measured and checked by nobody here.

They are no records. No comparison, claim, ranking or history takes one; a report shows them apart.
"""

__all__ = ["SCHEMA_VERSION", "Reported", "ReportedSet", "Source", "decode_reported",
           "encode_reported"]  # fmt: skip

from typing import Annotated, Literal

import msgspec

from alignmeter.records.document import decode_versioned, encode_document

SCHEMA_VERSION = 1
_Figure = Annotated[float, msgspec.Meta(ge=0, le=1e18)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file. ``format``: a key of `alignmeter.records.foreign.FORMATS`. ``sha256``: in hex.

    ``title``: whose results they are; ``url``: where they are published, empty where nobody said.
    """

    format: str
    file: str
    sha256: str
    title: str
    url: str = ""


class Reported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One result, in the words of its source; what the source does not say is empty or ``None``.

    ``source``: index in `ReportedSet.sources`. ``step_s``: s of one optimisation step.
    ``tokens_per_s``: trained tokens per s. ``peak_bytes``: of what the allocator had ``allocated``
    or ``reserved``. ``energy_j``: of one step. ``batch``: as the source counts it. ``others``: any
    other figure, by its name there. ``measured``: ISO 8601.
    """

    source: int
    name: str
    status: str = "ok"
    method: str = ""
    model: str = ""
    peft: str = ""
    precision: str = ""
    seq_len: _Count | None = None
    batch: _Count | None = None
    device: str = ""
    step_s: _Figure | None = None
    tokens_per_s: _Figure | None = None
    peak_bytes: _Count | None = None
    peak_of: Literal["", "allocated", "reserved"] = ""
    energy_j: _Figure | None = None
    others: dict[str, float] = {}
    versions: dict[str, str] = {}
    measured: str = ""


class ReportedSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one `alignmeter import` has read."""

    schema_version: int
    sources: list[Source]
    rows: list[Reported]


_DECODER = msgspec.json.Decoder(ReportedSet)


def encode_reported(found: ReportedSet) -> bytes:
    """Strict JSON, indented for people, with a newline at the end."""
    return encode_document(found)


def decode_reported(data: bytes, where: str) -> ReportedSet:
    """Parse and check one set. Raises `InputError` that names ``where`` and the wrong field."""
    return decode_versioned(data, _DECODER, SCHEMA_VERSION, where, "results of `alignmeter import`")
