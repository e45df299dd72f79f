"""The HTML page: what the template is given."""

__all__ = ["Neighbours", "environment", "render_page"]

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from alignmeter import __version__
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.no_delta import why_no_delta
from alignmeter.analysis.words import figure_text, memory_text
from alignmeter.cells.labels import spelled
from alignmeter.records.capacity import CapacityPoint
from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Record
from alignmeter.registry import ACCELERATORS, DELTAS
from alignmeter.text import counted, shortened
from alignmeter.units import bytes_text, joules_text, seconds_text, span_text
from alignmeter_reports.cells import layout
from alignmeter_reports.contents import contents
from alignmeter_reports.script import policy, script_text
from alignmeter_reports.sections.capacity import capacity_views
from alignmeter_reports.sections.coverage import coverage
from alignmeter_reports.sections.delta import delta_views
from alignmeter_reports.sections.explore import explore_view
from alignmeter_reports.sections.kernels import kernels_chart, kernels_rows
from alignmeter_reports.sections.matrix import matrix_view
from alignmeter_reports.sections.memory import memory_view
from alignmeter_reports.sections.pareto import pareto_views
from alignmeter_reports.sections.phases import phase_chart
from alignmeter_reports.sections.plan import plan_views
from alignmeter_reports.sections.portability import portability_views
from alignmeter_reports.sections.provenance import machines
from alignmeter_reports.sections.ranks import ranks_view
from alignmeter_reports.sections.reported import reported_view
from alignmeter_reports.sections.scaling import scaling_views
from alignmeter_reports.sections.timelines import timeline_views
from alignmeter_reports.view import MOST_CELLS, View

_LONGEST = 300
"""Characters of a text cell that the page shows; records may hold anything."""
_MOST_MACHINES = 40
_MOST_REFUSED = 200
_MOST_SENTENCES = 24
"""Of one metric of an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Pages about this one in a site, as relative links. ``cells``: anchor of a row -> the page of
    its cell. ``made_from``: digest of all that the page is made from.
    """

    index: str
    earlier: str = ""
    later: str = ""
    cells: Mapping[str, str]
    made_from: str


def _short(text: object) -> str:
    return shortened(str(text), _LONGEST).replace(" %", "\N{NO-BREAK SPACE}%")


def _ticked(text: str) -> Markup:
    """What stands between backticks as code, everything else escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _interval(time: Estimate) -> str:
    if time.low is None or time.high is None:
        return "interval needs 3 replicates"
    return span_text(seconds_text(time.low), seconds_text(time.high))


def environment() -> Environment:
    """Templates of the package, with filters for figures and for text of records."""
    templates = Environment(
        loader=PackageLoader("alignmeter_reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "bytes": bytes_text, "joules": joules_text, "seconds": seconds_text, "short": _short,
        "counted": counted, "interval": _interval, "figure": figure_text, "ticked": _ticked,
        "memory": memory_text,
    }  # fmt: skip
    return templates


def render_page(view: View, around: Neighbours | None = None) -> str:
    """The whole page as text; equal records give equal text. ``around``: of a page of a site."""
    templates = environment()
    script = script_text()
    context = {
        "title": view.sources.title,
        "version": __version__,
        "view": view,
        "rows": view.rows,
        "most_cells": MOST_CELLS,
        "layout": layout,
        "reasons": REASONS,
        **_scope(view),
        "headline": [spelled("method", method) for method in DELTAS[0]],
        "most_sentences": _MOST_SENTENCES,
        "no_delta": why_no_delta(view.records, DELTAS[0]) if _no_headline(view) else "",
        "deltas": delta_views(view.deltas, view.rows, view.records),
        "around": around,
        **_charts(view, around),
        **_stored(view),
    }
    parts = contents(templates, context)
    return templates.get_template("page.html.j2").render(
        context,
        script=Markup(script),  # noqa: S704 - the package's own files, with nothing of a record
        policy=policy(script),
        present=[part for part in parts if part.body],
        missing=[part for part in parts if not part.body],
    )


def _no_headline(view: View) -> bool:
    return all((d.cell.method, d.versus.method) != DELTAS[0] for d in view.deltas)


def _scope(view: View) -> dict[str, object]:
    """What was measured, where and when."""
    searches = view.sources.loaded.capacity
    everywhere = [record.provenance for record in view.records]
    everywhere += [point.provenance for point in searches if point.provenance is not None]
    every = machines(everywhere)
    ran = _measured(view.all_records, searches)
    kinds = {*(row.memory_kind for row in view.all_rows), *(p.memory_kind for p in searches)}
    return {
        "raw": None if view.sources.raw is None else view.sources.raw.name,
        "statuses": sorted(Counter(record.status for record in view.all_records).items()),
        "machines": every[:_MOST_MACHINES],
        "hidden_machines": max(0, len(every) - _MOST_MACHINES),
        "kinds": sorted(kinds),
        "absent": [name for name in ACCELERATORS if name not in ran],
        "cells": len({row.cell.id for row in view.all_rows}),
        "hosts": list(dict.fromkeys(f"{m.place.device} ({m.place.host})" for m in every)),
        "measured": _span(
            [
                *(r.provenance.started for r in view.all_records if r.provenance.started),
                *(place.started for place in everywhere if place.started),
            ]
        ),
    }


def _span(started: Sequence[str]) -> str:
    """``2026-03-01 01:00 to 01:02 UTC``, ``2026-03-01 to 2026-03-14``; as it is said where that is
    no time.
    """
    if not started:
        return ""
    first, last = min(started), max(started)
    try:
        low, high = (datetime.fromisoformat(text).astimezone(UTC) for text in (first, last))
    except ValueError:
        return first if first == last else f"{first} to {last}"
    if low.date() != high.date():
        return f"{low:%Y-%m-%d} to {high:%Y-%m-%d}"
    if len(first) == len("2026-03-01"):
        return first
    end = "" if f"{low:%H:%M}" == f"{high:%H:%M}" else f" to {high:%H:%M}"
    return f"{low:%Y-%m-%d %H:%M}{end} UTC"


def _charts(view: View, around: Neighbours | None) -> dict[str, object]:
    """Every other chart, with the table beside it."""
    loaded = view.sources.loaded
    paths = loaded.path_of()
    timelines, refused = timeline_views(view.drawn, paths)
    refused = [*loaded.refused, *refused]
    paretos, hidden_paretos = pareto_views(view.rows, view.cost)
    kernels = kernels_rows(view.cells)
    return {
        "memory": memory_view(view.drawn, view.rows),
        "phase_chart": phase_chart(view.rows),
        "matrix": matrix_view(view.rows, view.cost),
        "coverage": coverage(view.all_rows),
        "explore": explore_view(
            view.rows, _groups(view), paths, view.cost, around.cells if around else None
        ),
        "paretos": paretos,
        "hidden_paretos": hidden_paretos,
        "timelines": timelines,
        "kernels": kernels,
        "kernels_chart": kernels_chart(kernels),
        "scaling": scaling_views(view.all_records, view.cells),
        "ranks": ranks_view(view.cells),
        "refused": refused[:_MOST_REFUSED],
        "hidden_refused": max(0, len(refused) - _MOST_REFUSED),
    }


def _groups(view: View) -> dict[str, Group]:
    """Anchor of a row -> its replicates."""
    return {
        row.anchor: group for row, group in zip(view.all_rows, current(view.cells), strict=True)
    }


def _stored(view: View) -> dict[str, object]:
    """What other commands stored beside the records."""
    loaded = view.sources.loaded
    return {
        "portability": portability_views(loaded.portability),
        "plans": plan_views(loaded.predictions),
        "capacity": capacity_views(loaded.capacity),
        "reported": reported_view(loaded.reported),
    }


def _measured(records: Sequence[Record], searches: Sequence[CapacityPoint]) -> set[str]:
    ran = {record.cell.accelerator for record in records if record.status == "ok"}
    return ran | {point.cell.accelerator for point in searches if point.largest is not None}
