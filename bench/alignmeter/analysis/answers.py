"""The questions that people ask, and what like cells say of them on each device."""

__all__ = ["Answer", "Part", "Told", "answers", "newest"]

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, newest_first
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.analysis.pairings import Pairing, across_devices, pairings
from alignmeter.analysis.sentences import Sentence, sentences
from alignmeter.analysis.sides import ratio_of
from alignmeter.cells.labels import spelled
from alignmeter.records.record import VRAM
from alignmeter.registry import ACCELERATORS, ARCHITECTURES, DELTAS, PEFT_MODES
from alignmeter.text import counted

_ASKED = ("memory", "time", "energy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A pair of like cells and its ratio of one metric; ``figure`` is ``None`` for the reason
    ``why``.
    """

    pair: Pairing
    figure: Estimate | None
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One metric of an answer. ``excluded``: why pairs have no ratio, in words; empty if all have.

    ``told``: every pair, those without a figure among them.
    """

    metric: Metric
    told: list[Told]
    sentences: list[Sentence]
    excluded: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One question on one ``device``, whose memory is of ``kind``. ``topic`` groups questions.

    ``latest``: when its newest figure was measured.
    """

    topic: str
    question: str
    device: str
    kind: str
    pairs: list[Pairing]
    latest: datetime
    parts: list[Part]


def answers(groups: Sequence[Group], metrics: Sequence[Metric] = ()) -> list[Answer]:
    """The first pair of methods, vendors, other methods, architectures versus the Transformer, and
    PEFT modes.

    Of each question VRAM comes first, then the devices in the registry's order. ``groups``: of
    every night; of each pair the newest counts that has both. ``metrics`` are asked after memory,
    time and energy.
    """
    groups = [group for group in groups if group.ran]
    asked = [*(METRICS[name] for name in _ASKED), *metrics]
    first, *others = DELTAS
    found = [
        *_methods(groups, *first),
        *_vendors(groups),
        *(one for pair in others for one in _methods(groups, *pair)),
        *_architectures(groups),
        *_modes(groups),
    ]
    return [_answer(*one, asked) for one in found]


def newest(every: Sequence[Answer]) -> list[Answer]:
    """Of each question and device that of the environment which was measured last, in order."""
    last: dict[tuple[str, object], Answer] = {}
    for answer in every:
        key = answer.question, answer.pairs[0].other.place.hardware
        if key not in last or answer.latest > last[key].latest:
            last[key] = answer
    kept = set(map(id, last.values()))
    return [answer for answer in every if id(answer) in kept]


_Question = tuple[str, str, str, list[Pairing]]
"""Topic, question, device, and the pairs that bear on it."""


def _of(
    question: str, axis: str, groups: Sequence[Group], base: str, other: str
) -> list[_Question]:
    """A question for each device and kind of memory: unlike cells are never put together."""
    places: dict[tuple[str, str], list[Pairing]] = defaultdict(list)
    for pair in pairings(groups, axis, base, (other,)):
        places[pair.other.where, _kind(pair.other)].append(pair)
    ranked = sorted(places.items(), key=lambda item: (item[0][1] != VRAM, *_order(item[1])))
    return [(axis, question, device, mine) for (device, _), mine in ranked]


def _order(pairs: Sequence[Pairing]) -> tuple[object, ...]:
    """Devices in the registry's order; of one device the environment measured last comes first."""
    one = pairs[0].other
    place = _position(list(ACCELERATORS), one.cell.accelerator)
    return place, one.device, -_latest(pairs).timestamp(), one.where


def _kind(group: Group) -> str:
    return group.records[0].memory.kind


def _latest(pairs: Iterable[Pairing]) -> datetime:
    return max(max(pair.base.latest, pair.other.latest) for pair in pairs)


def _methods(groups: Sequence[Group], less: str, more: str) -> list[_Question]:
    return _of(
        f"{spelled('method', less)} versus {spelled('method', more)}", "method", groups, more, less
    )


def _architectures(groups: Sequence[Group]) -> list[_Question]:
    base, *others = sorted(ARCHITECTURES, key=lambda name: ARCHITECTURES[name].state_space)
    found = []
    for name in others:
        than = "the Transformer" if ARCHITECTURES[name].state_space else base
        found += _of(f"{name.capitalize()} versus {than}", "architecture", groups, base, name)
    return found


def _modes(groups: Sequence[Group]) -> list[_Question]:
    base, *others = sorted(PEFT_MODES, key=lambda name: PEFT_MODES[name].adapters)
    found = []
    for name in others:
        question = f"{PEFT_MODES[name].title or name} versus {base} fine-tuning"
        found += _of(question, "peft", groups, base, name)
    return found


def _vendors(groups: Sequence[Group]) -> list[_Question]:
    """Each accelerator versus the first one, in the order of the registry; the newest of each."""
    order = list(ACCELERATORS)
    pairs: dict[tuple[str, str], list[Pairing]] = defaultdict(list)
    for alike in across_devices(group for group in groups if _kind(group) == VRAM):
        newest: dict[object, Group] = {}
        for group in newest_first(alike):
            newest.setdefault(group.place.hardware, group)
        base, *others = sorted(
            newest.values(),
            key=lambda g: (_position(order, g.cell.accelerator), g.device, g.where),
        )
        for other in others:
            if other.device != base.device:
                pair = Pairing(base=base, other=other, differing="")
                pairs[other.where, base.where].append(pair)
    return [
        ("accelerator", f"{one} versus {two}", f"{one} and {two}", mine)
        for (one, two), mine in pairs.items()
    ]


def _position(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _answer(
    topic: str, question: str, device: str, pairs: list[Pairing], metrics: Sequence[Metric]
) -> Answer:
    return Answer(
        topic=topic,
        question=question,
        device=device,
        kind=_kind(pairs[0].other),
        pairs=pairs,
        latest=_latest(pairs),
        parts=[_part(pairs, metric, topic) for metric in metrics],
    )


def _part(pairs: Sequence[Pairing], metric: Metric, axis: str) -> Part:
    told = [Told(pair=p, figure=f, why=why) for p in pairs
            for f, why in (ratio_of(p.base, p.other, metric),)]  # fmt: skip
    ratios = [(one.pair.base.cell, one.figure) for one in told if one.figure is not None]
    return Part(
        metric=metric,
        told=told,
        sentences=sentences(ratios, metric, asked=axis) if ratios else [],
        excluded=_excluded(told),
    )


def _excluded(told: Sequence[Told]) -> str:
    """``2 of 9 pairs excluded: host_loaded in 3 of 3 replicates``."""
    whys = Counter(one.why for one in told if one.figure is None)
    if not whys:
        return ""
    (why, _), *others = whys.most_common()
    count = sum(whys.values())
    more = f", and {counted(len(others), 'other reason')}" if others else ""
    if count == len(told):
        return f"not available: {why}{more}"
    return f"{count} of {counted(len(told), 'pair')} excluded: {why}{more}"
