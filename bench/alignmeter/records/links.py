"""What a machine's ranks reach between them: times of collectives by their size."""

__all__ = [
    "KINDS",
    "SCHEMA_VERSION",
    "TimedCollective",
    "MeasuredLinks",
    "decode_links",
    "encode_links",
]

from datetime import datetime

import msgspec

from alignmeter.records.document import decode_versioned, encode_document

SCHEMA_VERSION = 1
KINDS = ("all_gather", "reduce_scatter", "all_reduce")
"""Collectives of a step whose weights or gradients are shared."""


class TimedCollective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Collectives of one kind on whole tensors of ``nbytes``: the median of their times, each that
    of the slowest rank.
    """

    kind: str
    nbytes: int
    seconds: float
    bus_bytes_per_s: float


class MeasuredLinks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``collectives``: of each kind from the smallest tensor to the largest. Bus bandwidth is the
    bytes that each rank has to send over the time (nccl-tests' definition). ``backend``: as
    torch.distributed names it.
    """

    schema_version: int
    alignmeter: str
    torch: str
    accelerator: str
    device: str
    world_size: int
    backend: str
    measured: datetime
    collectives: list[TimedCollective]

    def latency_s(self, kind: str) -> float:
        """Seconds of the smallest one."""
        return self._of(kind)[0].seconds

    def bandwidth(self, kind: str) -> float:
        """The largest bus bandwidth of the kind, in bytes per s."""
        return max(one.bus_bytes_per_s for one in self._of(kind))

    def _of(self, kind: str) -> list[TimedCollective]:
        return [one for one in self.collectives if one.kind == kind]


_DECODER = msgspec.json.Decoder(MeasuredLinks)


def encode_links(links: MeasuredLinks) -> bytes:
    """Strict JSON, indented for people."""
    return encode_document(links)


def decode_links(data: bytes, where: str) -> MeasuredLinks:
    """Read it back. Raises `InputError` that names ``where`` and the wrong field."""
    return decode_versioned(data, _DECODER, SCHEMA_VERSION, where, "the JSON of `alignmeter links`")
