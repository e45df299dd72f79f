"""The first screen: the answer in a few sentences with figures."""

__all__ = ["Answer", "Part", "answers", "leading"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.claims.ratios import metric_ratio
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate, estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.pairings import Pairing, across_devices, pairings
from alignmeter.records.record import VRAM
from alignmeter.registry import ACCELERATORS, ARCHITECTURES, DELTAS, PEFT_MODES

_METRICS = {"memory": "peak memory", "time": "step time", "energy": "energy per step"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One metric of an answer. ``text``: the change, or that it is not available.

    ``detail``: over how many pairs, with which interval or range, or why there is nothing.
    """

    name: str
    text: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One question on one ``device``, whose memory is of ``kind``. ``topic`` groups questions."""

    topic: str
    question: str
    device: str
    kind: str
    pairs: int
    parts: list[Part]


def answers(groups: Sequence[Group]) -> list[Answer]:
    """Methods versus each other, architectures versus the Transformer, PEFT modes, then vendors.

    Every figure is a geometric mean of ratios over pairs of like cells on one device. Of each
    question the device with VRAM and the most pairs comes first.
    """
    every: list[Answer] = []
    for less, more in DELTAS:
        pairs = pairings(groups, "method", more, (less,))
        every += _asked("method", f"{less.upper()} versus {more.upper()}", pairs)
    base, *others = sorted(ARCHITECTURES, key=lambda name: ARCHITECTURES[name].state_space)
    for name in others:
        than = "the Transformer" if ARCHITECTURES[name].state_space else base
        pairs = pairings(groups, "architecture", base, (name,))
        every += _asked("architecture", f"{name.capitalize()} versus {than}", pairs)
    base, *others = sorted(PEFT_MODES, key=lambda name: PEFT_MODES[name].adapters)
    for name in others:
        pairs = pairings(groups, "peft", base, (name,))
        every += _asked(
            "peft", f"{PEFT_MODES[name].title or name} versus {base} fine-tuning", pairs
        )
    return every + _vendors(groups)


def leading(every: Sequence[Answer]) -> list[list[Answer]]:
    """The first answer to each question, those of one topic together: one sentence each."""
    first: dict[str, Answer] = {}
    for answer in every:
        first.setdefault(answer.question, answer)
    topics: dict[str, list[Answer]] = {}
    for answer in first.values():
        topics.setdefault(answer.topic, []).append(answer)
    return list(topics.values())


def _kind(group: Group) -> str:
    return group.records[0].memory.kind


def _asked(topic: str, question: str, pairs: Iterable[Pairing]) -> list[Answer]:
    """One answer per device and kind of memory: unlike cells are never put together."""
    places: dict[tuple[str, str], list[Pairing]] = {}
    for pair in pairs:
        if pair.base.ran and pair.other.ran:
            places.setdefault((pair.other.where, _kind(pair.other)), []).append(pair)
    ranked = sorted(places.items(), key=lambda item: (item[0][1] != VRAM, -len(item[1]), item[0]))
    return [_answer(topic, question, *place, mine) for place, mine in ranked]


def _answer(topic: str, question: str, device: str, kind: str, pairs: Sequence[Pairing]) -> Answer:
    parts = [_part(pairs, metric) for metric in _METRICS]
    return Answer(
        topic=topic, question=question, device=device, kind=kind, pairs=len(pairs), parts=parts
    )


def _vendors(groups: Sequence[Group]) -> list[Answer]:
    """Each accelerator versus the first one: `cuda` before `rocm` before the others."""
    order = list(ACCELERATORS)
    pairs: dict[tuple[str, str], list[Pairing]] = {}
    for alike in across_devices(group for group in groups if _kind(group) == VRAM):
        ranked = sorted(alike, key=lambda g: (_position(order, g.cell.accelerator), g.device))
        base = ranked[0]
        for other in ranked[1:]:
            if other.device != base.device:
                key = other.device, base.device
                pairs.setdefault(key, []).append(Pairing(base=base, other=other, differing=""))
    return [
        _answer("vendor", f"{one} versus {two}", one, VRAM, mine)
        for (one, two), mine in pairs.items()
    ]


def _position(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _part(pairs: Sequence[Pairing], metric: str) -> Part:
    figures = [metric_ratio(pair.base, pair.other, metric) for pair in pairs]
    ratios = [figure for figure, _ in figures if figure is not None]
    name = _METRICS[metric]
    if not ratios:
        why = next((why for _, why in figures if why), "not measured")
        return Part(name=name, text="not available", detail=why)
    mean = estimate([figure.value for figure in ratios]).value
    return Part(name=name, text=_change(mean), detail=_detail(ratios, exact=metric == "memory"))


def _detail(ratios: Sequence[Estimate], *, exact: bool) -> str:
    """The interval of one pair; of several the range, and how many intervals exclude no change."""
    if len(ratios) == 1:
        return f"one pair, {_interval(ratios[0], exact=exact)}"
    values = sorted(figure.value for figure in ratios)
    low, high = _change(values[0]), _change(values[-1])
    text = f"{len(ratios)} pairs, " + (f"{low} in each" if low == high else f"{low} to {high}")
    bare = sum(figure.low is None for figure in ratios)
    if bare:
        return f"{text}, {bare} without an interval"
    clear = sum((f.high or 0) < 1 or (f.low or 0) > 1 for f in ratios)
    return text if exact else f"{text}, clear in {clear}"


def _interval(figure: Estimate, *, exact: bool) -> str:
    if exact:
        return "exact"
    if figure.low is None or figure.high is None:
        return f"no interval below {LEAST_REPLICATES} replicates"
    return f"95 %: {_change(figure.low)} to {_change(figure.high)}"


def _change(ratio: float) -> str:
    percent = 100 * (ratio - 1)
    if abs(percent) < 0.05:
        return "the same"
    if percent > 100:
        return f"{ratio:.3g} times as much"
    return f"{abs(percent):.1f} % {'less' if percent < 0 else 'more'}"
