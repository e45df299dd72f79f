"""Sentences about several pairs of like cells, each of one direction: never a mean over a turn.

Of pairs that agree in their direction the range is told. Where some are clearly below and others
clearly above, they are told apart by method, then by architecture, by PEFT mode, and by whatever
else differs, until each sentence has one direction. Where that makes more than a few sentences,
those that say the same become one, in which each method stands with its figures.
"""

__all__ = ["Sentence", "sentences"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.metrics import Metric
from alignmeter.analysis.words import Saying, lean, sayings, several_text
from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import axis_text, spelled, varied
from alignmeter.text import counted

_ORDER = ("architecture", "peft")
"""Axes by which pairs that turn are told apart, after the method and before all others."""
_FEW = 4
"""Sentences that stand by themselves, a method each."""
_Ratio = tuple[Cell, Estimate]
_Told = tuple[tuple[str, ...], list[_Ratio]]
"""What pairs are told apart by, and the pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """What ``pairs`` pairs say. ``scope``: which of them, empty where it is all of them.

    ``items``: the parts of ``text``, where ``scope`` says already what all of them have in common.
    """

    scope: str
    text: str
    pairs: int
    items: tuple[str, ...] = ()

    def __str__(self) -> str:
        """``DPO, llama: 5.4x faster [5.1, 5.7]``."""
        return f"{self.scope}: {self.text}" if self.scope else self.text


def sentences(
    ratios: Sequence[_Ratio], metric: Metric, *, asked: str, subject: str = ""
) -> list[Sentence]:
    """One for all where none of them turns, else one for each value of the first axis that varies.

    ``ratios``: the cell that each is about, and the ratio. ``asked``: the axis in question, by
    which they are not told apart. ``subject``: what saves or needs, if the sentence is to name it.
    """
    told = _told(ratios, metric, asked, ())
    if len(told) > _FEW:
        return _listed(told, metric, subject)
    return [
        Sentence(
            scope=", ".join(names),
            text=several_text([figure for _, figure in mine], metric, subject),
            pairs=len(mine),
        )
        for names, mine in told
    ]


def _told(
    ratios: Sequence[_Ratio], metric: Metric, asked: str, names: tuple[str, ...]
) -> list[_Told]:
    """Pairs of one direction each, under ``names`` and what tells them apart."""
    turn = _turns((figure for _, figure in ratios), metric)
    axis = _next_axis([cell for cell, _ in ratios], asked) if turn else ""
    if not axis:
        return [(names, list(ratios))]
    return [
        one
        for name, mine in _told_apart(ratios, metric, axis)
        for one in _told(mine, metric, asked, (*names, name))
    ]


def _listed(told: Sequence[_Told], metric: Metric, subject: str) -> list[Sentence]:
    """One sentence for all that say the same of pairs whose names are alike but for the first,
    which comes with its own figures: ``faster in 6 pairs, llama: SFT 1.1x; DPO 1.2 to 1.3x``.
    """
    found: dict[tuple[int, str, str], list[tuple[str, Saying]]] = defaultdict(list)
    for (first, *rest), mine in told:
        for one in sayings([figure for _, figure in mine], metric, subject):
            found[one.rank, one.head, ", ".join(rest)].append((first, one))
    return [
        _list_of(head, rest, mine)
        for (_, head, rest), mine in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _list_of(head: str, rest: str, mine: Sequence[tuple[str, Saying]]) -> Sentence:
    pairs = sum(one.pairs for _, one in mine)
    items = tuple(f"{first} {one.text}".rstrip() for first, one in mine)
    scope = ", ".join(filter(None, (f"{head} in {counted(pairs, 'pair')}", rest)))
    return Sentence(scope=scope, text="; ".join(items), pairs=pairs, items=items)


def _told_apart(
    ratios: Sequence[_Ratio], metric: Metric, axis: str
) -> list[tuple[str, list[_Ratio]]]:
    """By the values of ``axis``: each method alone, of other axes what leans alike together."""
    values: dict[object, list[_Ratio]] = defaultdict(list)
    for cell, figure in ratios:
        values[getattr(cell, axis)].append((cell, figure))
    alike: dict[object, tuple[list[str], list[_Ratio]]] = {}
    for value, mine in sorted(values.items(), key=lambda item: _place_in(axis, item[0])):
        leans = frozenset(lean(figure, metric) for _, figure in mine) - {0}
        together = axis != "method" and len(leans) < 2
        names, gathered = alike.setdefault(leans if together else value, ([], []))
        names.append(_value_text(mine[0][0], axis))
        gathered += mine
    return [(_joined(names), gathered) for names, gathered in alike.values()]


def _joined(names: Sequence[str]) -> str:
    """``mamba, mamba2 and hybrid``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _turns(figures: Iterable[Estimate], metric: Metric) -> bool:
    return {-1, 1} <= {lean(figure, metric) for figure in figures}


def _next_axis(cells: Sequence[Cell], asked: str) -> str:
    """The first axis in which they differ; empty where there is none."""
    others = (name for name in AXES if name not in (asked, "method", *_ORDER))
    names = [name for name in ("method", *_ORDER, *others) if name != asked]
    return next(iter(varied(cells, names)), "")


def _place_in(axis: str, value: object) -> tuple[int, str]:
    """Values that the axis lists come in its order, others after them by name; numbers as such."""
    choices = AXES[axis].choices
    if isinstance(value, int):
        return value, ""
    return choices.index(str(value)) if value in choices else len(choices), str(value)


def _value_text(cell: Cell, axis: str) -> str:
    """As people spell it: ``DPO``, ``LoRA``, ``batch 4``."""
    return spelled(axis, axis_text(cell, axis))
