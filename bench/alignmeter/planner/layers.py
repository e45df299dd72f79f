"""A plan from two shallow traces, exact where all layers are alike.

The trace of a model with one layer more has the same operators and one layer's in between. So every
moment of a step, an operator of the shallow trace, is at a place that is counted from its pass's
first layer or from its last one; what is live there is of layers before it, of layers after it and
of neither, and grows by the same bytes with each layer that comes in between. The largest moment of
a deep model is the largest of these lines at its depth: between the first layers and the last ones
bytes grow or shrink evenly.
"""

__all__ = ["alike_layers", "predict_peak", "predict_soon"]

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from alignmeter.architectures import architecture_of
from alignmeter.cells.axes import SAME
from alignmeter.cells.cell import Cell
from alignmeter.planner.trace import Traced, finished, predict, trace
from alignmeter.records.prediction import Prediction
from alignmeter.records.ranks import Collective
from alignmeter.session.findings.step_flops import shape_of
from alignmeter.worker.memory.ledger import rows

_SHALLOW = 4
"""Layers of the first trace: the first, the last, and beside each one with neighbours."""
_DEEP = 12
"""Layers from which two shallow traces take less time than a whole one."""
_WHOLE = 64
"""Layers up to which a plan of one device has time to trace all of them."""

_Names = Sequence[tuple[object, ...]]
"""What operators are told apart by, and alike in every layer: see `_names`."""


def predict_soon(cell: Cell) -> Prediction:
    """As `predict`, but as `predict_peak` of several devices and of models deeper than 64 layers,
    whose whole step takes minutes to trace.
    """
    deep = cell.world_size > 1 or (alike_layers(cell) or 0) > _WHOLE
    return predict_peak(cell) if deep else predict(cell)


def predict_peak(cell: Cell) -> Prediction:
    """As `predict`, without ``reserved_bytes`` where two shallow traces were enough."""
    depth = alike_layers(cell)
    if depth is None or depth < _DEEP:
        return predict(cell)
    one, more = trace(cell, layers=_SHALLOW), trace(cell, layers=_SHALLOW + 1)
    pairs = _aligned(_names(one), _names(more))
    return predict(cell) if pairs is None else finished(_deep(one, more, pairs, depth - _SHALLOW))


def alike_layers(cell: Cell) -> int | None:
    """How many layers the cell's models have; ``None`` where these are not known to be alike.

    A config's lists of one entry a layer say what blocks do not, such as who attends in a window.
    """
    blocks, shape = architecture_of(cell).blocks, shape_of(cell)
    runs = () if blocks is None else blocks(shape)
    if cell.teacher != SAME or len(runs) != 1:
        return None
    ((_, layers),) = runs
    lists = (value for value in shape.values() if isinstance(value, list))
    uneven = any(len(value) == layers and len(set(map(str, value))) > 1 for value in lists)
    return None if uneven else layers


def _names(traced: Traced) -> _Names:
    """Phase, name, bytes made, and the neighbours: where a pass begins and ends they are others."""
    log = traced.log
    before, after = [None, *log.operators[:-1]], [*log.operators[1:], None]
    return list(zip(log.phase_of, before, log.operators, after, traced.made, strict=True))


def _aligned(one: _Names, more: _Names) -> list[tuple[int, int]] | None:
    """Each operator of ``one`` with its own in ``more``; ``None`` where they cannot be told.

    Operators that both have as often stand outside of layers; what is between two of them is one
    pass through the layers, or none.
    """
    counts, others = Counter(one), Counter(more)
    fixed = {name for name, count in counts.items() if others[name] == count}
    ends = [at for at, name in enumerate(one) if name in fixed]
    other_ends = [at for at, name in enumerate(more) if name in fixed]
    if [one[at] for at in ends] != [more[at] for at in other_ends]:
        return None
    pairs = list(zip(ends, other_ends, strict=True))
    edges = [(-1, -1), *pairs, (len(one), len(more))]
    for (start, other_start), (end, other_end) in pairwise(edges):
        length, longer = end - start - 1, other_end - other_start - 1
        ahead = (length + 1) // 2
        if longer < length or not _is_pass(one[start + 1 : end], longer - length):
            return None
        pairs += [(start + 1 + at, other_start + 1 + at) for at in range(ahead)]
        pairs += [(end - 1 - at, other_end - 1 - at) for at in range(length - ahead)]
    return sorted(pairs) if all(one[at] == more[other] for at, other in pairs) else None


def _is_pass(names: _Names, layer: int) -> bool:
    """Whether ``layer`` operators come again and again, but for less than two layers' at the ends.

    Nothing has to come again where that is 0. Two passes in one, each of its own operators, leave
    more over.
    """
    if layer == 0:
        return True
    first, last = _repeated(names, layer)
    return last - first >= layer and len(names) - (last - first + layer) < 2 * layer


def _repeated(names: _Names, period: int) -> tuple[int, int]:
    """The longest range of operators that come again ``period`` later."""
    best, first = (0, 0), 0
    for at in range(len(names) - period):
        if names[at] != names[at + period]:
            first = at + 1
        elif at + 1 - first > best[1] - best[0]:
            best = first, at + 1
    return best


def _deep(one: Traced, more: Traced, pairs: Sequence[tuple[int, int]], further: int) -> Prediction:
    """The plan of ``one`` with as many layers ``further``."""

    def grown(small: int, large: int) -> int:
        return small + further * (large - small)

    def moments() -> Iterator[tuple[int, int, int]]:
        yield from ((grown(one.inside[at], more.inside[to]), at, to) for at, to in pairs)

    phases: dict[str, int] = {}
    for count, at, _ in moments():
        phase = one.log.phase_of[at]
        if phase is not None:
            phases[phase] = max(phases.get(phase, 0), count)
    count, at, to = max(moments(), key=lambda moment: moment[0])
    small, large = one.ledger(at), more.ledger(to)
    owners = {**small, **large}
    return Prediction(
        cell=one.cell,
        peak_bytes=count,
        peak_phase=one.log.phase_of[at],
        peak_operator=one.log.operators[at],
        phases=phases,
        ledger=rows({o: grown(small.get(o, 0), large.get(o, 0)) for o in owners}),
        trained_parameters=grown(one.trained_parameters, more.trained_parameters),
        communication=_sent(one, more, grown),
    )


def _sent(
    one: Traced, more: Traced, grown: Callable[[int, int], int]
) -> dict[str, dict[str, Collective]]:
    """What every layer sends is alike."""
    none = Collective(calls=0, bytes=0)

    def of(small: Collective, large: Collective) -> Collective:
        return Collective(
            calls=grown(small.calls, large.calls), bytes=grown(small.bytes, large.bytes)
        )

    return {
        phase: {
            kind: of(one.log.communication.get(phase, {}).get(kind, none), sent)
            for kind, sent in kinds.items()
        }
        for phase, kinds in more.log.communication.items()
    }
