"""Records in; a self-contained HTML file, CSV, Parquet, Markdown out. Never imports torch."""

__all__ = ["write_report"]

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.analysis.prices import Prices
from alignmeter.records.folder import Loaded, write_bytes
from alignmeter.records.record import Record


def write_report(
    loaded: Loaded,
    html: Path,
    csv: Path | None = None,
    title: str = "alignmeter report",
    *,
    md: Path | None = None,
    parquet: Path | None = None,
    prices: Prices | None = None,
    baseline: Sequence[Record] | None = None,
) -> None:
    """Write the page, and what else is asked for.

    ``csv``, ``parquet``: one row per record; beside ``NAME.csv`` comes ``NAME.delta.csv``, a row
    per pair of like cells of two methods. ``md``: Markdown for a job summary. ``prices``: what
    hours and kWh cost. ``baseline``: records of an earlier run, which the rows are compared with.

    Raises `InputError` if a file cannot be written, or if ``baseline`` has no cell of these.
    """
    from alignmeter_reports.delta_table import delta_csv_text
    from alignmeter_reports.markdown import report_markdown
    from alignmeter_reports.page import render_page
    from alignmeter_reports.parquet import parquet_bytes
    from alignmeter_reports.table import csv_bytes
    from alignmeter_reports.view import Sources, gathered

    loaded = replace(loaded, records=with_clock_drift(loaded.records))
    sources = Sources(loaded=loaded, title=title, prices=prices, baseline=baseline, raw=parquet)
    view = gathered(sources)
    write_bytes(html, _utf8(render_page(view)))
    if md is not None:
        write_bytes(md, _utf8(report_markdown(view)))
    if csv is not None:
        write_bytes(csv.with_suffix(".delta.csv"), _utf8(delta_csv_text(view.deltas)))
    del view, sources  # what was worked out of 100 000 records fills a third of a gigabyte
    if csv is not None:
        write_bytes(csv, csv_bytes(loaded.records, prices))
    if parquet is not None:
        write_bytes(parquet, parquet_bytes(loaded.records, prices))


def _utf8(text: str) -> bytes:
    # The name of a refused file may hold bytes that are not UTF-8, as surrogates: show them.
    return text.encode("utf-8", "backslashreplace")
