"""The report as Markdown for a job summary: the worst first, and never too large to be shown."""

__all__ = ["report_markdown"]

from collections import Counter
from collections.abc import Iterable, Sequence

from alignmeter.analysis.compare.markdown import MARKDOWN_LIMIT_BYTES, escaped
from alignmeter.analysis.delta import Delta
from alignmeter.analysis.likeness import current
from alignmeter.analysis.words import memory_text
from alignmeter.records.record import Record
from alignmeter.text import counted, listed, plain
from alignmeter.units import bytes_text
from alignmeter_reports.cells import CellRow, layout
from alignmeter_reports.sections.answer import AnswerView
from alignmeter_reports.sections.baseline import BaselineView
from alignmeter_reports.sections.claims import ClaimRow
from alignmeter_reports.sections.failures import Failure, failures
from alignmeter_reports.sections.nights import NightsView
from alignmeter_reports.view import View

_SECTION = MARKDOWN_LIMIT_BYTES // 8
"""Bytes that one section may take, so that none can crowd the others out."""
_SENTENCES = 12
"""Of one metric of an answer: a job's summary is no place for every pair."""
_DEVICES = 10
"""Devices that are named in the first sentence."""


def report_markdown(view: View) -> str:
    """At most `MARKDOWN_LIMIT_BYTES` of UTF-8; lines that find no room are counted."""
    loaded, title, rows = view.sources.loaded, view.sources.title, view.all_rows
    newest = [record for group in current(view.cells) for record in group.records]
    text = f"## {escaped(plain(title))}\n\n{_scope(loaded.records, rows)}\n\n"
    if loaded.reported:
        count = sum(len(one.rows) for one in loaded.reported)
        text += f"Results of others, in the page alone: {count}. "
        text += "Nothing here takes a figure of theirs.\n\n"
    sections = (
        *_night_sections(view.nights),
        ("Nothing was measured", "", (f"- {_text(line)}\n" for line in view.answer.nothing)),
        ("Versus the baseline", "", _changes(view.baseline)),
        ("Not measured", "| cell | device | status | replicates | reason |", _failed(newest)),
        ("Files that are not records", "", (f"- {_text(line)}\n" for line in loaded.refused)),
        ("Invalid", "| cell | device | metric | reason |", _invalid(rows)),
        *_delta_sections(view.deltas),
        ("Claims", "| claim | verdict | figure | cells |", _claims(view.claims)),
        ("The answer", "", _answer(view.answer)),
    )
    return text + "".join(_section(*section) for section in sections)


def _text(text: str) -> str:
    return escaped(plain(text))


def _line(*cells: str) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |\n"


def _section(title: str, head: str, lines: Iterable[str]) -> str:
    """Nothing without lines."""
    kept: list[str] = []
    room, left = _SECTION, 0
    for line in lines:
        room -= len(line.encode("utf-8", "replace"))
        if room < 0:
            left += 1
        else:
            kept.append(line)
    if not kept and not left:
        return ""
    rule = f"{head}\n|{'---|' * (head.count('|') - 1)}\n" if head else ""
    note = f"\n{counted(left, 'line')} more found no room here.\n" if left else ""
    return f"### {title}\n\n{rule}{''.join(kept)}{note}\n"


def _scope(records: Sequence[Record], rows: Sequence[CellRow]) -> str:
    devices = sorted({row.device for row in rows})
    shown = ", ".join(listed(devices, _DEVICES))
    counts = Counter(record.status for record in records)
    counted_statuses = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    cells = len({row.cell.id for row in rows})
    apart = f" in {len(rows)} rows, one for each device and software," if cells < len(rows) else ""
    text = f"{counted(cells, 'cell')}{apart}{f' on {shown}' if shown else ''}"
    text += f"; replicates: {counted_statuses}." if counted_statuses else "."
    if any(row.memory_kind == "cpu tensor storage" for row in rows):
        text += " CPU memory is tensor storage on the CPU and settles no claim about VRAM."
    return _text(text)


def _night_sections(view: NightsView | None) -> Iterable[tuple[str, str, Iterable[str]]]:
    """Last night first: what is news there, then the levels that changed over all nights."""
    if view is None:
        return
    last = view.last
    said = f"{last.scope}, versus {last.before}."
    if last.differences:
        said += f" Differs in all cells: {'; '.join(last.differences)}."
    lines = [f"{_text(said)}\n\n"]
    for title, found in last.lists.items():
        lines += [f"- {_text(f'{title}: {len(found)}' if found else f'{title}: nothing')}\n"]
        lines += [f"  - {_text(line)}\n" for line in listed(found, view.most, "line")]
    yield f"Last night: {last.name}", "", lines
    yield "Levels that changed", "", [f"- {_text(line)}\n" for line in view.standing]


def _changes(baseline: BaselineView | None) -> Iterable[str]:
    if baseline is None:
        return
    yield f"{_text(baseline.scope)}.\n\n"
    for line in baseline.lines:
        yield f"- {_text(line)}\n"
    for row, verdict in baseline.rows:
        yield f"- {_text(f'{row.cell_id} on {row.device}: {row.metric} {verdict}')}\n"


def _failed(records: Sequence[Record]) -> Iterable[str]:
    """One line per cell, device, status and code, with the first text; the most frequent first."""
    for failure in sorted(failures(records), key=_rarity):
        code, text = (failure.reason.code, failure.reason.text) if failure.reason else ("", "")
        yield _line(
            failure.cell_id, failure.device, failure.status, str(failure.count), f"{code}: {text}"
        )


def _rarity(failure: Failure) -> tuple[object, ...]:
    code = failure.reason.code if failure.reason else ""
    return -failure.count, failure.cell_id, failure.device, failure.status, code


def _invalid(rows: Sequence[CellRow]) -> Iterable[str]:
    for row in rows:
        for metric, reasons in row.invalid.items():
            if metric != "energy" or row.energy_j is not None:
                yield _line(row.cell.id, row.device, metric, "; ".join(map(str, reasons)))


def _delta_sections(deltas: Sequence[Delta]) -> Iterable[tuple[str, str, Iterable[str]]]:
    """Title, head and lines of each pair of methods."""
    for less, more in dict.fromkeys(delta.names for delta in deltas):
        head = f"| {less} and {more} cells | device, memory | {more} layout "
        head += f"| {less} | {more} | {less} saves |"
        mine = [delta for delta in deltas if delta.names == (less, more)]
        yield f"{less} versus {more}, peak memory", head, _deltas(mine)


def _deltas(pairs: Sequence[Delta]) -> Iterable[str]:
    for delta in sorted(pairs, key=lambda delta: delta.percent):
        yield _line(
            f"{delta.cell.id}, {delta.versus.id}",
            f"{delta.device}, {memory_text(delta.kind)}",
            layout(delta.versus),
            bytes_text(delta.peak_bytes),
            bytes_text(delta.versus_peak_bytes),
            f"{delta.percent:.1f} %",
        )


def _claims(claims: Sequence[ClaimRow]) -> Iterable[str]:
    for row in claims:
        finding = row.finding
        yield _line(finding.claim.text, finding.verdict, row.figure, row.counts)


def _answer(view: AnswerView) -> Iterable[str]:
    """A line for each question and device, its metrics below; what is not available is said."""
    for answer in (one for devices in view.first.values() for one in devices):
        yield f"- {_text(f'{answer.question} ({answer.device}, {memory_text(answer.kind)})')}\n"
        for part in answer.parts:
            if part.metric.title in view.absent:
                continue
            said = [*map(str, part.sentences), *filter(None, [part.excluded])]
            for text in listed(said, _SENTENCES, "sentence"):
                yield f"  - {_text(f'{part.metric.title}: {text}')}\n"
    for title, why in view.absent.items():
        yield f"- {_text(f'{title}: {why}')}\n"
