"""What a session found, in pytest's summary."""

__all__ = ["show"]

import pytest

from alignmeter.plugin.measuring import Measuring
from alignmeter.text import plain

_NOTHING = "Nothing was measured (exit status 5); -rs shows why each test was skipped."


def show(reporter: pytest.TerminalReporter, run: Measuring) -> None:
    """Print kernels, searches and cells, and where the report is: once."""
    if run.shown:
        return
    run.shown = True
    from alignmeter.plugin.sections import write_section
    from alignmeter.terminal.capacity import capacity_parts
    from alignmeter.terminal.kernels import kernel_parts
    from alignmeter.terminal.tables import Paragraph

    points, refused = run.searches.points, sorted(run.searches.refused)
    if run.comparisons:
        write_section(reporter, "kernels", kernel_parts(run.comparisons))
    if points or refused:
        parts = [*map(Paragraph, refused), *(capacity_parts(points) if points else ())]
        write_section(reporter, "capacity", parts)
    if run.opened.records or points:
        _show_report(reporter, run)
    if run.nothing:
        reporter.write_line(_NOTHING)


def _show_report(reporter: pytest.TerminalReporter, run: Measuring) -> None:
    from alignmeter.plugin.sections import write_section
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import Paragraph

    records = run.opened.records
    notes = [Paragraph(plain(note)) for note in run.notes]
    summary = [*summary_parts(records), Paragraph("")] if records else []
    write_section(reporter, "alignmeter", [*notes, *summary])
    if run.written is not None:
        html, csv = run.written
        reporter.write_line(f"HTML  {html}")
        reporter.write_line(f"CSV   {csv}")
    if run.failed is not None:
        reporter.write_line(f"Error: {run.failed}")
