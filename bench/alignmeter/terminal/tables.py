"""Tables and paragraphs with one look, printed or as lines of text.

Every text here becomes a `rich.text.Text`, never markup, and loses what is not printable: names
come from records, which are untrusted. Nothing is cut: what finds no room goes on in a new line.
"""

__all__ = [
    "WIDTH",
    "Column",
    "Grid",
    "Part",
    "Row",
    "Paragraph",
    "fields",
    "figure",
    "label",
    "lines",
    "print_parts",
]

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from alignmeter.text import wrapped

WIDTH = 80
"""Columns where there is no terminal: a log reads the same wherever it was written."""
_READABLE = 100
"""Most columns of a text: longer lines are hard to follow."""
_NARROWEST = 40
"""Columns below which a terminal is left to break lines by itself."""
_LEAST = 8
"""Columns that a text keeps until the figures beside it have to give way too."""
_GLUE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text in lines that fit, an empty line where it is empty.

    ``indent``: of all lines; ``hang``: of those after the first, more. ``head`` stands in front of
    the first line, the others below its end. A no-break space holds its two words together and is
    printed as a space.
    """

    text: str
    style: str = ""
    indent: int = 0
    hang: int = 0
    head: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """One `Text` per line."""
        columns = min(options.max_width, _READABLE)
        head = " " * self.indent + _printable(self.head)
        pieces = wrapped(_printable(self.text), columns, head, self.hang)
        for line in pieces or [""]:
            yield Text(line, self.style)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == _GLUE else " " for c in text)


@dataclass(frozen=True, slots=True)
class Column:
    """One column under its name. ``firm``: the others are narrowed before it is."""

    name: str
    right: bool = False
    firm: bool = False


def figure(name: str) -> Column:
    """A column of numbers: right-aligned, in one line as long as there is any room."""
    return Column(name, right=True, firm=True)


def label(name: str = "") -> Column:
    """A column of names: in one line as long as there is any room."""
    return Column(name, firm=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One text per column, or `Paragraph` where one has a style."""

    cells: Sequence[str | Paragraph]
    style: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table without lines. `Paragraph` between its rows, such as titles and notes, span it.

    ``gap``: between two columns; one where there is no room for more. ``indent``: of header and
    rows.
    """

    columns: Sequence[Column]
    rows: Sequence[Row | Paragraph]
    indent: int = 0
    gap: int = 2

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """The header, if a column has a name, then rows and what stands between them."""
        gap, widths = self._widths(options.max_width - self.indent)
        if any(column.name for column in self.columns):
            yield self._table([], gap, widths)
        for is_row, neighbours in groupby(self.rows, lambda row: isinstance(row, Row)):
            if is_row:
                yield self._table([row for row in neighbours if isinstance(row, Row)], gap, widths)
            else:
                yield from (text for text in neighbours if isinstance(text, Paragraph))

    def _widths(self, room: int) -> tuple[int, list[int]]:
        """Columns between two columns, and of each column.

        The widest text gives way first, down to its longest word and then further; where texts are
        as narrow as can be, the widest of all.
        """
        widths = [max(cell_len(column.name), 1) for column in self.columns]
        for row in self.rows:
            for place, cell in enumerate(row.cells if isinstance(row, Row) else ()):
                text = cell if isinstance(cell, str) else cell.text
                widths[place] = max(widths[place], min(cell_len(text), _READABLE))
        gaps = len(widths) - 1
        gap = self.gap if sum(widths) + self.gap * gaps <= room else 1
        soft = [place for place, column in enumerate(self.columns) if not column.firm]
        words = self._words() if sum(widths) + gap * gaps > room else widths
        every = range(len(widths))
        for least, places in (
            (words, soft),
            ([_LEAST] * len(widths), soft),
            ([1] * len(widths), every),
        ):
            while sum(widths) + gap * gaps > room:
                wide = [place for place in places if widths[place] > least[place]]
                if not wide:
                    break
                widths[max(wide, key=widths.__getitem__)] -= 1
        return gap, widths

    def _words(self) -> list[int]:
        """Of each column the longest word, in columns."""
        found = [max(map(cell_len, column.name.split()), default=1) for column in self.columns]
        for row in self.rows:
            for place, cell in enumerate(row.cells if isinstance(row, Row) else ()):
                text = cell if isinstance(cell, str) else cell.text
                found[place] = max(found[place], *map(cell_len, text.split()), 1)
        return found

    def _table(self, rows: Sequence[Row], gap: int, widths: Sequence[int]) -> Table:
        """The header where there are no rows. The first column has the indent in front."""
        table = Table(
            box=None, padding=(0, gap, 0, 0), pad_edge=False, show_header=not rows,
            header_style="dim",
        )  # fmt: skip
        indents = [self.indent, *(0 for _ in widths[1:])]
        for column, width, indent in zip(self.columns, widths, indents, strict=True):
            table.add_column(
                _cell(column.name, width, indent), width=width + indent, overflow="fold",
                justify="right" if column.right else "left",
            )  # fmt: skip
        for row in rows:
            table.add_row(*map(_cell, row.cells, widths, indents), style=row.style)
        return table


def _cell(content: str | Paragraph, width: int, indent: int) -> Text | Paragraph:
    """A `Text` where it fits, which is drawn sooner."""
    cell = Paragraph(content) if isinstance(content, str) else content
    if cell_len(cell.text) > width or not cell.text.isprintable():
        return replace(cell, indent=indent)
    return Text(" " * indent + cell.text, cell.style)


Part = Paragraph | Grid
"""What can be printed."""


def fields(rows: Iterable[tuple[str, str | Paragraph]], *, indent: int = 0) -> Grid:
    """Labels with what they label; a label stands once above those like it."""
    table: list[Row | Paragraph] = []
    last = None
    for name, text in rows:
        table.append(Row((name if name != last else "", text)))
        last = name
    return Grid((label(), Column("")), table, indent=indent, gap=1)


def lines(parts: Iterable[Part], width: int = WIDTH, *, styled: bool = False) -> list[str]:
    """``parts`` in lines of at most ``width`` columns.

    ``styled``: with the escape codes of colours, as far as the environment allows: see ``NO_COLOR``
    and ``TERM``.
    """
    file = io.StringIO()
    console = Console(
        file=file, width=max(width, _NARROWEST), force_terminal=styled, force_jupyter=False,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    for part in parts:
        console.print(part)
    return [line.rstrip() for line in file.getvalue().split("\n")[:-1]]


def print_parts(parts: Iterable[Part]) -> None:
    """Print to standard output: as wide as the terminal, without one `WIDTH` and without colours.

    ``FORCE_COLOR`` asks for colours all the same.
    """
    out = Console(force_jupyter=False)
    width = out.width if sys.stdout.isatty() else WIDTH
    text = "\n".join(lines(parts, width, styled=out.is_terminal))
    click.echo(text, color=out.is_terminal)
