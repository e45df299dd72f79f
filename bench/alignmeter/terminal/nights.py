"""The last of several nights: what is news in it."""

__all__ = ["night_parts"]

from collections.abc import Iterator

from alignmeter.analysis.nights import LastNight
from alignmeter.terminal.tables import Paragraph, Part
from alignmeter.text import listed

_MOST = 10


def night_parts(last: LastNight | None) -> Iterator[Part]:
    """Nothing where there are not two nights."""
    if last is None:
        return
    yield Paragraph("")
    yield Paragraph(f"Last night: {last.name}, versus {last.before}", "bold", hang=2)
    for text in last.differences:
        yield Paragraph(f"differs in all cells: {text}", indent=2, hang=2)
    for title, lines in last.lists.items():
        yield Paragraph(f"{title}: {len(lines) or 'nothing'}", indent=2, hang=2)
        for text in listed(lines, _MOST, "line"):
            yield Paragraph(text, indent=4, hang=2)
