"""The parameter counts behind ``--size``, a column per architecture."""

__all__ = ["SizeRow", "size_parts", "sizes_markdown"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alignmeter.terminal.tables import Grid, Part, Row, figure, label


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRow:
    """One size. ``shapes``: architecture -> layers, width and parameters, where it has the size."""

    size: str
    vocabulary: int
    shapes: Mapping[str, tuple[int, int, int]]

    @property
    def apart(self) -> float:
        """How far the farthest count is from the first one's, as a share of that."""
        first, *others = (parameters for _, _, parameters in self.shapes.values())
        return max((abs(count / first - 1) for count in others), default=0.0)

    def texts(self, architectures: Sequence[str]) -> tuple[str, ...]:
        """The row, a dash for an architecture that has no such size."""
        shapes = (
            "{} x {}, {:.4g} M".format(*shape[:2], shape[2] / 1e6) if shape else "-"
            for shape in map(self.shapes.get, architectures)
        )
        return self.size, str(self.vocabulary), *shapes, f"{self.apart:.1%}"


def size_parts(rows: Sequence[SizeRow], architectures: Sequence[str]) -> Iterator[Part]:
    """The table for the terminal."""
    columns = label("size"), figure("vocabulary"), *map(figure, architectures), figure("apart")
    yield Grid(columns, [Row(row.texts(architectures)) for row in rows])


def sizes_markdown(rows: Sequence[SizeRow], architectures: Sequence[str]) -> str:
    """The same as Markdown, as docs/sizes.md has it."""
    head = ("size", "vocabulary", *architectures, "apart")
    body = [row.texts(architectures) for row in rows]
    rule = f"|{'---|' * len(head)}"
    return "\n".join([_line(head), rule, *map(_line, body)])


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
