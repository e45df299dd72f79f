"""What a report is made of, worked out once for the page and the Markdown alike."""

__all__ = ["Sources", "View", "gathered"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignmeter.analysis.answers import answers
from alignmeter.analysis.bill import bills
from alignmeter.analysis.claims import findings
from alignmeter.analysis.cost import cost_metric
from alignmeter.analysis.delta import Delta, deltas
from alignmeter.analysis.likeness import Group, current, groups
from alignmeter.analysis.nights import nights
from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import Loaded
from alignmeter.records.record import Record
from alignmeter_reports.cells import CellRow, anchors, cell_rows, latest
from alignmeter_reports.sections.answer import AnswerView, answer_view
from alignmeter_reports.sections.baseline import BaselineView, baseline_view
from alignmeter_reports.sections.bill import BillRow, bill_rows
from alignmeter_reports.sections.changes import ChangesView, changes_view
from alignmeter_reports.sections.claims import ClaimRow, claim_rows
from alignmeter_reports.sections.cost import CostView, cost_view
from alignmeter_reports.sections.failures import Failure, failures, noted
from alignmeter_reports.sections.nights import NightsView, nights_view
from alignmeter_reports.sections.vendors import VendorView, vendor_view

MOST_CELLS = 400
"""Rows that a page shows in full, those that were measured last; the raw files have all."""
_MOST_FAILURES = 300
_MOST_RECORDS = 4000
"""Records from which on a chart draws one replicate of each cell only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What is asked for. ``raw``: the Parquet file that comes with the page, if one does."""

    loaded: Loaded
    title: str
    prices: Prices | None = None
    baseline: Sequence[Record] | None = None
    raw: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """``all_records``, ``all_rows``: everything, in order; ``rows``: what the page shows.

    ``records``: those of ``rows``. ``drawn``: at most one record per cell where there are very
    many. ``cells``: all replicates by cell and place. ``links``: (cell id, device) -> anchor in
    the page. ``names``: cell id -> name, told apart over all rows.
    ``hidden_failures``: how many rows of failures found no room; ``notes``, ``hidden_notes``
    likewise.
    """

    sources: Sources
    all_records: list[Record]
    all_rows: list[CellRow]
    rows: list[CellRow]
    records: list[Record]
    drawn: list[Record]
    cells: list[Group]
    deltas: list[Delta]
    answer: AnswerView
    changes: ChangesView | None
    nights: NightsView | None
    claims: list[ClaimRow]
    cost: CostView
    bills: list[BillRow]
    vendors: VendorView
    baseline: BaselineView | None
    failures: list[Failure]
    hidden_failures: int
    notes: list[Failure]
    hidden_notes: int
    links: dict[tuple[str, str], str]
    names: dict[str, str]


def gathered(sources: Sources) -> View:
    """Everything that is in the report; equal records in any order give equal views.

    Raises `InputError` if there is a baseline and no cell of it is like one of the records.
    """
    records = sorted(sources.loaded.records, key=_order)
    cells = groups(records)
    pairs = deltas(records, cells)
    newest = current(cells)
    all_rows = cell_rows(newest)
    rows = latest(all_rows, MOST_CELLS)
    claims = findings(records, cells, pairs)
    unmeasured, notes = failures(_of(newest)), noted(_of(newest))
    shown = {row.anchor for row in rows}
    mine = _of(group for group, row in zip(newest, all_rows, strict=True) if row.anchor in shown)
    base = sources.baseline
    several = nights(records)
    changes = changes_view(records, several, sources.loaded.path_of())
    asked = [] if sources.prices is None else [cost_metric(sources.prices)]
    return View(
        sources=sources,
        all_records=records,
        all_rows=all_rows,
        rows=rows,
        records=mine,
        cells=cells,
        drawn=mine if len(mine) <= _MOST_RECORDS else _one_each(rows, mine),
        deltas=pairs,
        changes=changes,
        nights=nights_view(several, changes),
        answer=answer_view(records, answers(cells, asked)),
        claims=claim_rows(claims),
        cost=cost_view(rows, cells, sources.prices),
        bills=bill_rows(bills(cells), sources.prices),
        vendors=vendor_view(records, cells, sources.loaded.capacity, sources.prices),
        baseline=None if base is None else baseline_view(records, base),
        failures=unmeasured[:_MOST_FAILURES],
        hidden_failures=max(0, len(unmeasured) - _MOST_FAILURES),
        notes=notes[:_MOST_FAILURES],
        hidden_notes=max(0, len(notes) - _MOST_FAILURES),
        links=anchors(rows),
        names={row.cell.id: row.name for row in all_rows},
    )


def _order(record: Record) -> tuple[object, ...]:
    place = record.provenance
    where = place.device.lower(), place.device, place.environment_digest
    return record.cell.id, record.replicate, *where, record.seed, place.started


def _of(groups: Iterable[Group]) -> list[Record]:
    return sorted((record for group in groups for record in group.records), key=_order)


def _one_each(rows: Sequence[CellRow], records: Sequence[Record]) -> list[Record]:
    """The heaviest replicate of each row, and what was not tried."""
    planned = (record for record in records if record.status == "predicted_oom")
    heaviest = (row.heaviest for row in rows if row.heaviest is not None)
    return sorted([*heaviest, *planned], key=_order)
