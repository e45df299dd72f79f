"""Steps of several devices: each rank's share, and what they bring over one device."""

__all__ = ["rank_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.ranks import Efficiency, Spread, efficiencies, spread_of
from alignmeter.analysis.words import percent_text
from alignmeter.cells.labels import cell_text
from alignmeter.records.record import Record
from alignmeter.terminal.tables import Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain
from alignmeter.units import bytes_text, seconds_text

_COLUMNS = (
    label("cell"), figure("W"), figure("largest peak"), figure("of rank"), figure("uneven by"),
    figure("slowest step"), figure("uneven by"), figure("sent a step"),
)  # fmt: skip

_GAINS = label("cell"), figure("times as fast"), figure("per device"), figure("peak")


def rank_parts(cells: Sequence[Group]) -> Iterator[Part]:
    """Nothing where no step of several devices was measured."""
    shown = [group for group in current(cells) if group.ran and group.cell.world_size > 1]
    if not shown:
        return
    yield Paragraph("")
    yield Paragraph("Steps of several devices", "bold")
    yield Grid(_COLUMNS, [_row(group) for group in shown])
    yield Paragraph(
        "uneven by: above the mean of the ranks; sent: whole tensors that are gathered or reduced.",
        hang=2,
    )
    rows = efficiencies(cells)
    if rows:
        yield Paragraph("")
        yield Grid(_GAINS, [_gain(row) for row in rows])
        yield Paragraph("per device: of the speed that one has alone; peak: of one's.", hang=2)


def _row(group: Group) -> Row:
    record = _largest(group)
    peak = spread_of(record, lambda rank: rank.peak_bytes)
    time = spread_of(record, lambda rank: rank.median_s)
    sent, seconds = record.communication, record.timing.median_s
    return Row(
        (
            plain(cell_text(group.cell)),
            str(group.cell.world_size),
            bytes_text(record.memory.allocated_peak_bytes or 0),
            "-" if peak is None else str(peak.rank),
            _percent(peak),
            "-" if seconds is None else seconds_text(seconds),
            _percent(time),
            "-" if sent is None else bytes_text(sent.bytes),
        )
    )


def _largest(group: Group) -> Record:
    ran = (record for record in group.records if record.status == "ok")
    return max(ran, key=lambda record: record.memory.allocated_peak_bytes or 0)


def _percent(spread: Spread | None) -> str:
    return "-" if spread is None else f"{percent_text(spread.percent)} %"


def _gain(row: Efficiency) -> Row:
    speed = "-" if row.speedup is None else f"{row.speedup.value:.2f}"
    return Row((plain(cell_text(row.cell)), speed, _share(row.share), _share(row.peak)))


def _share(found: Estimate | None) -> str:
    return "-" if found is None else f"{percent_text(100 * found.value)} %"
