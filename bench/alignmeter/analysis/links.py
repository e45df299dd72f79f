"""What devices have between them, from ``links.toml``, and the least time of what is sent there.

``python -m alignmeter.analysis.links`` prints the table as Markdown, which is docs/links.md.
"""

__all__ = ["Link", "Wires", "bus_factor", "links", "links_markdown", "wires_of"]

import datetime
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from alignmeter.analysis.chips import Peak

_NETWORK = "400G"
"""Between boxes, where a plan has several: no chip says how they are joined."""


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind: bytes per s that a device sends at most, and receives at the same time.

    ``peer_bytes_per_s``: to one other device, where each pair has a link of its own. ``reduces``:
    its switches add up what devices send. ``network``: it joins boxes. ``via`` as in `Peak`.
    """

    bytes_per_s: int
    source: str
    read: datetime.date
    note: str
    peer_bytes_per_s: int | None = None
    reduces: bool = False
    network: bool = False
    via: str | None = None


@cache
def links() -> Mapping[str, Link]:
    """Name -> its row, in the file's order."""
    text = (resources.files("alignmeter.analysis") / "links.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Link])


def bus_factor(kind: str, world_size: int) -> float:
    """Bytes that each of W devices has to send, over the bytes of the whole tensor.

    (W - 1) / W of an all-gather and a reduce-scatter, twice that of an all-reduce
    (https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md).
    """
    return (2 if kind == "all_reduce" else 1) * (world_size - 1) / world_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Wires:
    """What ``world_size`` devices have between them: boxes of ``linked`` devices with ``link``, and
    where they fill several, a port of ``network`` for each device.
    """

    world_size: int
    linked: int
    link: Link
    network: Link

    def seconds(self, sent: Mapping[str, int]) -> float:
        """The least time of collectives: kind -> bytes of the whole tensors, all of that kind.

        A device gets what it lacks through its link and its port together, and a box what it lacks
        through its ports. Each collective has the links to itself.
        """
        return sum(self._least(kind, nbytes) for kind, nbytes in sent.items())

    def _least(self, kind: str, nbytes: int) -> float:
        size, factor = self.world_size, self._factor(kind)
        inside = self.link.bytes_per_s
        if self.link.peer_bytes_per_s is not None:
            inside = min(inside, self.link.peer_bytes_per_s * (min(size, self.linked) - 1))
        if size <= self.linked:
            return factor * nbytes * (size - 1) / size / inside
        port = self.network.bytes_per_s
        of_device = factor * nbytes * (size - 1) / size / (inside + port)
        of_box = factor * nbytes * (size - self.linked) / size / (self.linked * port)
        return max(of_device, of_box)

    def _factor(self, kind: str) -> int:
        """How often a byte crosses: twice in an all-reduce, unless a switch adds up."""
        reduces = self.link.reduces or (self.network.reduces and self.world_size > self.linked)
        return 2 if kind == "all_reduce" and not reduces else 1


def wires_of(chip: Peak, world_size: int) -> Wires | None:
    """Those of so many of the chip; ``None`` for one device, and where its link is not known."""
    if world_size == 1 or chip.link is None:
        return None
    return Wires(
        world_size=world_size,
        linked=chip.linked,
        link=links()[chip.link],
        network=links()[_NETWORK],
    )


def links_markdown() -> str:
    """The table and its sources, as docs/links.md has them."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (
        "# Links",
        "",
        "What devices have between them, as vendors state it: the bound of a step of several",
        "devices ([flops.md](flops.md#bytes-between-devices)) takes these figures, and",
        "`alignmeter links` measures what a machine reaches. Which chip has which is in",
        "[peaks.md](peaks.md).",
        "",
        "Generated from `bench/alignmeter/analysis/links.toml` by",
        "`python -m alignmeter.analysis.links`.",
        "",
        "| link | a device each way, GB/s | to one other, GB/s | switches reduce | joins |",
        "|---|---:|---:|---|---|",
    )
    for name, row in links().items():
        each = row.bytes_per_s if row.peer_bytes_per_s is None else row.peer_bytes_per_s
        reduces, joins = "yes" if row.reduces else "no", "boxes" if row.network else "devices"
        figures = f"{row.bytes_per_s / 1e9:.5g} | {each / 1e9:.5g}"
        yield f"| {name} | {figures} | {reduces} | {joins} |"
    yield from ("", "## Sources", "")
    for name, row in links().items():
        via = "" if row.via is None else f"; what was read: {row.via}"
        yield f"- **{name}**. {row.note}"
        yield f"  Source: {row.source}, read on {row.read}{via}."


if __name__ == "__main__":
    sys.stdout.write(links_markdown())
