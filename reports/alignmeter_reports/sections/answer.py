"""The first screen: why nothing was measured, or what like cells say of people's questions."""

__all__ = ["AnswerView", "PairRow", "answer_view"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.answers import Answer, newest
from alignmeter.analysis.unmeasured import why_nothing
from alignmeter.analysis.words import ratio_text
from alignmeter.cells.labels import cell_text
from alignmeter.records.record import Record

_MOST_PAIRS = 400
"""Rows of evidence on a page; the sentences count all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """One pair of like cells: what each metric's ratio says, or why there is none. ``measured``:
    on which day, where the pairs are of several nights.
    """

    question: str
    device: str
    measured: str
    what: str
    texts: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerView:
    """``nothing``: why there is no figure at all. ``first``: question -> the answer on each device,
    in its newest environment; ``others``: the rest. ``absent``: metrics that no answer has, with
    the reason. ``metrics``: titles of ``pairs``' texts. ``hidden``: pairs that found no room.
    ``nights``: whether pairs were measured in several.
    """

    nothing: list[str]
    first: dict[str, list[Answer]]
    others: dict[str, list[Answer]]
    absent: dict[str, str]
    metrics: list[str]
    pairs: list[PairRow]
    hidden: int
    nights: bool


def answer_view(records: Sequence[Record], every: Sequence[Answer]) -> AnswerView:
    """``every``: what `alignmeter.analysis.answers` found in the records."""
    first = newest(every)
    kept = set(map(id, first))
    several = len({pair.other.place.session for answer in every for pair in answer.pairs}) > 1
    pairs = [row for answer in every for row in _rows(answer, several=several)]
    return AnswerView(
        nothing=why_nothing(records),
        first=_by_question(first),
        others=_by_question([answer for answer in every if id(answer) not in kept]),
        absent=_absent(every),
        metrics=[part.metric.title for part in every[0].parts] if every else [],
        pairs=pairs[:_MOST_PAIRS],
        hidden=max(0, len(pairs) - _MOST_PAIRS),
        nights=several,
    )


def _by_question(every: Sequence[Answer]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = {}
    for answer in every:
        found.setdefault(answer.question, []).append(answer)
    return found


def _absent(every: Sequence[Answer]) -> dict[str, str]:
    """Title of a metric that has no figure anywhere -> why, as the first answer says it."""
    told = [part for answer in every for part in answer.parts]
    there = {part.metric.title for part in told if part.sentences}
    return {part.metric.title: part.excluded for part in reversed(told)
            if part.metric.title not in there}  # fmt: skip


def _rows(answer: Answer, *, several: bool) -> list[PairRow]:
    return [
        PairRow(
            question=answer.question,
            device=answer.device,
            measured=f"{pair.other.latest:%Y-%m-%d}" if several else "",
            what="; ".join(
                filter(None, (cell_text(pair.base.cell, without=(answer.topic,)), pair.differing))
            ),
            texts=[
                told.why if told.figure is None else ratio_text(told.figure, part.metric)
                for part in answer.parts
                for told in (part.told[number],)
            ],
        )
        for number, pair in enumerate(answer.pairs)
    ]
