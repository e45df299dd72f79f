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

    write_bytes(html, _utf8(render_page(loaded, title)))
    if csv is not None:
        write_bytes(csv, _utf8(csv_text(loaded.records)))


def _utf8(text: str) -> bytes:
    # The name of a refused file may hold bytes that are not UTF-8, as surrogates: show them.
    return text.encode("utf-8", "backslashreplace")
