"""What a query of a store gave, as a table."""

__all__ = ["sql_answer_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row
from alignmeter.text import counted, plain


def sql_answer_parts(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[Part]:
    """Numbers to the right; the number of rows below."""
    numbers = [
        all(isinstance(row[place], int | float | None) for row in rows)
        for place in range(len(columns))
    ]
    if columns:
        heads = [
            Column(plain(name), right=right) for name, right in zip(columns, numbers, strict=True)
        ]
        yield Grid(heads, [Row([_shown(value) for value in row]) for row in rows])
    yield Paragraph(counted(len(rows), "row"))


def _shown(value: object) -> str:
    return "" if value is None else plain(str(value))
