"""What was not measured, is invalid or noted: how often, what its code means and what helps."""

__all__ = ["reason_parts"]

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Reason, Record
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure
from alignmeter.text import plain


def reason_parts(records: Sequence[Record]) -> Iterator[Part]:
    """One row per status or metric and code; nothing where everything was measured and is valid.

    Notes follow by themselves: what they are about stands.
    """
    yield from _table("Not measured, or invalid", records, _reasons)
    yield from _table("Noted; the figures stand", records, _notes)


_Said = Sequence[tuple[str, Reason]]


def _table(
    title: str, records: Sequence[Record], said: Callable[[Record], _Said]
) -> Iterator[Part]:
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        counts.update({(what, reason.code) for what, reason in said(record)})
    if not counts:
        return
    yield Paragraph("")
    yield Paragraph(title, "bold")
    rows: list[Row | Paragraph] = []
    for (what, code), count in sorted(counts.items()):
        rows += [Row((plain(what), plain(code), f"{count} of {len(records)}")), *_meaning(code)]
    yield Grid((Column("what"), Column("reason"), figure("replicates")), rows)


def _notes(record: Record) -> _Said:
    return [("note", reason) for reason in record.notes]


def _reasons(record: Record) -> _Said:
    """Each with the metric that is invalid for it, or with the status."""
    if record.status != "ok":
        return [(record.status, record.reason)] if record.reason else []
    return [(metric, r) for metric, verdict in record.validity.items() for r in verdict.reasons]


def _meaning(code: str) -> Iterator[Paragraph]:
    """Nothing for a code of another version."""
    known = REASONS.get(code)
    if known is not None:
        yield Paragraph(f"{known.meaning}; what helps: {known.remedy}", indent=2, hang=2)
