"""Records in, pages out: one self-contained HTML file and a CSV. Never imports torch."""

__all__ = ["write_report"]

from pathlib import Path

from alignmeter.folder import Loaded, write_bytes


def write_report(
    loaded: Loaded, html: Path, csv: Path | None = None, title: str = "alignmeter report"
) -> None:
    """Write the page, and with ``csv`` a table of one row per record.

    Raises `InputError` if a file cannot be written.
    """
    from alignmeter_reports.page import render_page
    from alignmeter_reports.table import csv_text

    write_bytes(html, render_page(loaded, title).encode())
    if csv is not None:
        write_bytes(csv, csv_text(loaded.records).encode())
