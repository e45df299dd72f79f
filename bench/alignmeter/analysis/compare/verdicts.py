"""From two sets of records to verdicts."""

__all__ = ["compare"]

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.analysis.compare.judgement import Rule, judged
from alignmeter.analysis.compare.pairs import Compared, Pair, pairs, reported, sides_of
from alignmeter.analysis.compare.result import VERDICTS, CellComparison, Comparison
from alignmeter.analysis.compare.status import cell_rows, differing_text
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import side_of
from alignmeter.errors import InputError
from alignmeter.records.record import Record
from alignmeter.text import plain

_ALWAYS_SHOWN = "kernel path."
"""Cells that took another kernel path are not compared without saying so beside the figure."""


def compare(
    base: Sequence[Record],
    new: Sequence[Record],
    minimum: Mapping[str, float] | None = None,
    *,
    paired: bool = False,
) -> Comparison:
    """Verdict per cell and metric of ``new`` against ``base``.

    ``minimum``: metric -> smallest effect that counts as a share of 1, in place of the metric's
    own. ``paired``: replicates of one number were measured in turns and make a pair.

    Raises `InputError`, naming the field that differs, if no cell of one side is like one of the
    other.
    """
    least = {name: metric.minimum for name, metric in METRICS.items()} | dict(minimum or {})
    rules = {name: Rule(minimum=share, paired=paired) for name, share in least.items()}
    sides = sides_of(with_clock_drift(base)), sides_of(with_clock_drift(new))
    found = pairs(*sides)
    alike = [
        (number, reported(pair.base, pair.new))
        for number, pair in enumerate(found)
        if pair.base is not None and pair.new is not None and not pair.differing
    ]
    if not alike:
        raise InputError(_nothing(found))
    everywhere = set.intersection(*(set(texts) for _, texts in alike))
    everywhere = {text for text in everywhere if not text.startswith(_ALWAYS_SHOWN)}
    own = {n: [text for text in texts if text not in everywhere] for n, texts in alike}
    rows = [
        msgspec.structs.replace(row, differences=own.get(number, []))
        for number, pair in enumerate(found)
        for row in (*cell_rows(pair), *_metric_rows(pair, rules))
    ]
    return Comparison(
        rows=sorted(rows, key=_worst_first),
        compared=len(alike),
        minimum=least,
        paired=paired,
        differences=[text for text in alike[0][1] if text in everywhere],
        older=sum(side.older for mine in sides for side in mine),
    )


def _worst_first(row: CellComparison) -> tuple[bool, int, float, str, str, int]:
    effect = round(abs(math.log(row.ratio)), 6) if row.ratio else 0.0
    rank = VERDICTS.index(row.verdict)
    metric = list(METRICS).index(row.metric) if row.metric in METRICS else -1
    return not row.lost, rank, -effect, row.cell_id, row.device, metric


def _nothing(found: Sequence[Pair]) -> str:
    """One sentence: why no cell has a partner."""
    text = "nothing to compare: no cell of NEW is like one of BASE"
    near = [(len(pair.differing), pair.base, pair) for pair in found if pair.differing]
    if not near:
        return text
    _, base, pair = min(near, key=lambda row: row[0])
    ours = base.cell.id if base else ""
    names = [ours, pair.nearest] if pair.nearest else [f"the two {ours}"]
    return plain(f"{text}; {' and '.join(names)} differ in {differing_text(pair.differing)}")


def _metric_rows(pair: Pair, rules: Mapping[str, Rule]) -> Iterable[CellComparison]:
    """Nothing where one side has no replicate that is ok: the row of its status says it."""
    if pair.base is None or pair.new is None or pair.differing:
        return
    if not (_has_ok(pair.base) and _has_ok(pair.new)):
        return
    for metric in METRICS.values():
        row = CellComparison(
            cell_id=pair.base.cell.id,
            device=pair.base.device,
            metric=metric.name,
            verdict="not available",
        )
        base, new = side_of(pair.base.group, metric), side_of(pair.new.group, metric)
        yield judged(row, base, new, metric, rules[metric.name])


def _has_ok(side: Compared) -> bool:
    return side.group.ran
