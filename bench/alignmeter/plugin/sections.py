"""Sections of pytest's own summary, in the look of the terminal's tables."""

__all__ = ["write_section"]

from collections.abc import Iterable

import pytest

from alignmeter.terminal.tables import WIDTH, Part, lines


def write_section(reporter: pytest.TerminalReporter, title: str, parts: Iterable[Part]) -> None:
    """In colours and as wide as the terminal where pytest itself writes so."""
    writer = reporter.config.get_terminal_writer()
    width = writer.fullwidth if writer.hasmarkup else WIDTH
    reporter.section(title)
    for line in lines(parts, width, styled=writer.hasmarkup):
        reporter.write_line(line)
