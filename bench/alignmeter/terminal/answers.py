"""What like cells say of the questions people ask: the first screen of a report, as text."""

__all__ = ["answer_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.analysis.answers import Answer
from alignmeter.analysis.words import memory_text
from alignmeter.terminal.tables import Paragraph, Part
from alignmeter.text import listed, plain

_MOST = 8
"""Sentences of one metric; the page has the pairs behind them."""


def answer_parts(answers: Sequence[Answer]) -> Iterator[Part]:
    """A head for each question and device, and a line for each sentence.

    A metric that none of them has is left out: what is missing is told apart from this.
    """
    there = {part.metric.title for a in answers for part in a.parts if part.sentences}
    for answer in answers:
        yield Paragraph("")
        kind = memory_text(answer.kind)
        where = kind if answer.topic == "accelerator" else f"{kind}, {answer.device}"
        yield Paragraph(plain(f"{answer.question} ({where})"), "bold", hang=2)
        for part in answer.parts:
            if part.metric.title not in there:
                continue
            said = listed([*map(str, part.sentences)], _MOST, "sentence")
            for text in (*said, *filter(None, [part.excluded])):
                yield Paragraph(plain(f"{part.metric.title}: {text}"), indent=2, hang=2)
