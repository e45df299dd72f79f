"""Whether cells that ran on two devices computed the same on both."""

__all__ = ["agreement_parts", "agreement_sentences"]

from collections import Counter
from collections.abc import Iterable, Iterator

from alignmeter.analysis.device_agreement import CrossCheck, crosschecks
from alignmeter.records.record import Record
from alignmeter.terminal.tables import Paragraph
from alignmeter.text import plain


def agreement_parts(records: Iterable[Record]) -> Iterator[Paragraph]:
    """`agreement_sentences`, the cells indented below the first."""
    for number, sentence in enumerate(agreement_sentences(records)):
        yield Paragraph(sentence, indent=2 if number else 0, hang=2)


def agreement_sentences(records: Iterable[Record]) -> list[str]:
    """First the counts, then the widest of those that agree and each that does not.

    Empty where no cell ran on two devices.
    """
    checks = crosschecks(records)
    if not checks:
        return []
    counts = Counter(check.word for check in checks)
    results = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    sentences = [f"numbers between devices: {results}"]
    agreeing = [check for check in checks if check.agrees]
    if agreeing:
        widest = max(agreeing, key=lambda check: check.widest.share)
        sentences.append(f"the farthest apart that agree, {_cell_text(widest)}")
    return sentences + [_cell_text(check) for check in checks if not check.agrees]


def _cell_text(check: CrossCheck) -> str:
    return plain(f"{check.one.cell.id}: {check.text}")
