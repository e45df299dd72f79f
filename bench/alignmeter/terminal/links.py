"""Links of a machine as they were measured: a row for each size, a column for each collective."""

__all__ = ["links_parts"]

from collections.abc import Iterator

from alignmeter.records.links import KINDS, MeasuredLinks
from alignmeter.terminal.tables import Grid, Paragraph, Part, Row, figure
from alignmeter.text import plain
from alignmeter.units import bytes_text, digits, seconds_text


def links_parts(links: MeasuredLinks) -> Iterator[Part]:
    """Times and bus bandwidths, then the latency and the largest bandwidth of each kind."""
    yield Paragraph(plain(f"{links.world_size} x {links.device}, {links.backend}"), "bold")
    names = [kind.replace("_", "-") for kind in KINDS]
    columns = [figure("bytes"), *(figure(text) for name in names for text in (name, "GB/s"))]
    sizes: dict[int, dict[str, tuple[str, str]]] = {}
    for one in links.collectives:
        texts = seconds_text(one.seconds), digits(one.bus_bytes_per_s / 1e9)
        sizes.setdefault(one.nbytes, {})[one.kind] = texts
    rows = [
        Row((bytes_text(nbytes), *(text for kind in KINDS for text in found.get(kind, ("", "")))))
        for nbytes, found in sizes.items()
    ]
    yield Grid(columns, rows)
    yield Paragraph("")
    for kind, name in zip(KINDS, names, strict=True):
        latency, most = seconds_text(links.latency_s(kind)), digits(links.bandwidth(kind) / 1e9)
        yield Paragraph(f"{name}: latency {latency}, up to {most} GB/s on the bus")
    yield Paragraph(
        "GB/s: the bytes that each device has to send over the time of the slowest one "
        "(bus bandwidth, as nccl-tests has it)."
    )
