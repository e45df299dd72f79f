"""Claims about two like cells: a ratio of time, energy or bytes, or which of them fits."""

__all__ = [
    "ON_CPU",
    "fits_where_full_does_not",
    "metric_ratio",
    "near_parity",
    "saves_memory",
    "step_ratios",
    "takes_less",
    "trains_a_share",
]

import math
from collections import Counter
from collections.abc import Iterable

from alignmeter.analysis.claims.evidence import Evidence, Material, Stance
from alignmeter.analysis.delta import Delta
from alignmeter.analysis.device_agreement import crosschecks
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate, outcome
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.pairings import Pairing, across_devices, pairings
from alignmeter.analysis.sides import ratio_of
from alignmeter.cells.labels import cell_text
from alignmeter.records.record import VRAM
from alignmeter.registry import METHODS, PEFT_MODES

ON_CPU = "tensor storage on the CPU, which is not VRAM"
"""Why bytes of a CPU settle nothing that is said of VRAM."""
_WORDS: dict[str, tuple[Stance, str]] = {
    "improved": ("holds", "the interval is below 1 and the change is above 3 %"),
    "equal": ("fails", "equal within 3 %"),
    "regressed": ("fails", "the interval is above 1 and the change is above 3 %"),
    "inconclusive": ("open", "the interval leaves it open"),
    "not available": ("open", f"fewer than {LEAST_REPLICATES} replicates on a side"),
}


def metric_ratio(base: Group, other: Group, name: str) -> tuple[Estimate | None, str]:
    """other / base of a metric, or ``None`` and why. Invalid figures are excluded.

    ``name``: a key of `alignmeter.analysis.compare.METRICS`. Bytes are exact; else Welch on logs.
    """
    return ratio_of(base, other, METRICS[name])


def saves_memory(
    material: Material,
    *,
    method: str,
    versus: str,
    least_percent: float,
    most_percent: float = math.inf,
) -> list[Evidence]:
    """Per cent of the other method's peak that ``method`` saves: within the bounds or not."""
    return [
        _saving(delta, least_percent, most_percent)
        for delta in material.deltas
        if (delta.cell.method, delta.versus.method) == (method, versus)
    ]


def _saving(delta: Delta, least: float, most: float) -> Evidence:
    stance: Stance = "holds"
    name, why = delta.names[0], ""
    if delta.kind != VRAM:
        stance, why = "apart", ON_CPU
    elif delta.percent < least:
        stance = "fails"
        why = f"{name} saves less" + (f" than {least:g} %" if math.isinf(most) else "")
    elif delta.percent > most:
        stance, why = "fails", f"{name} saves more"
    return Evidence(
        cells=(delta.cell.id, delta.versus.id),
        device=delta.device,
        what=cell_text(delta.versus, without=("method",)),
        figure=Estimate(
            value=delta.percent, low=delta.percent, high=delta.percent, n=delta.replicates
        ),
        unit="%",
        stance=stance,
        why="; ".join(text for text in (why, delta.differing) if text),
    )


def takes_less(
    material: Material, *, value: str, versus: str, metric: str, axis: str = "method"
) -> list[Evidence]:
    """A metric of the step at one value of ``axis`` over that at the other, say of two methods.

    ``metric``: a key of `METRICS`.
    """
    return step_ratios(material.groups, value=value, versus=versus, metric=metric, axis=axis)


def step_ratios(
    groups: Iterable[Group], *, value: str, versus: str, metric: str, axis: str = "method"
) -> list[Evidence]:
    """`takes_less` of any groups: a row per pair of like cells that both ran."""
    rows = []
    for pair in pairings([group for group in groups if group.ran], axis, versus, (value,)):
        found, why = metric_ratio(pair.base, pair.other, metric)
        stance: Stance = "open"
        if found is not None:
            stance, why = _WORDS[outcome(found, METRICS[metric].minimum)]
        what = cell_text(pair.base.cell, without=(axis,))
        rows.append(_row(pair, what, found, stance, why, unit=metric))
    return rows


def _row(
    pair: Pairing, what: str, figure: Estimate | None, stance: Stance, why: str, unit: str = ""
) -> Evidence:
    return Evidence(
        cells=(pair.other.cell.id, pair.base.cell.id),
        device=pair.other.where,
        what=what,
        figure=figure,
        unit=unit if figure is not None else "",
        stance=stance,
        why="; ".join(text for text in (why, pair.differing) if text),
    )


def _full_and_adapters(found: Iterable[Group]) -> list[Pairing]:
    """Cells that train every weight, each with the like ones that train adapters."""
    full = [name for name, row in PEFT_MODES.items() if not row.adapters]
    adapters = [name for name, row in PEFT_MODES.items() if row.adapters]
    groups = list(found)
    return [pair for base in full for pair in pairings(groups, "peft", base, adapters)]


def trains_a_share(material: Material, *, most_percent: float) -> list[Evidence]:
    """Bytes of adapters over bytes of the policy trained in full, both in one number format.

    Only where one model is trained: other trained models have adapters of their own.
    """
    rows = []
    for pair in _full_and_adapters(g for g in material.groups if _trains_one_model(g)):
        whole = _ledger_bytes(pair.base, "policy_weights_bytes")
        adapters = _ledger_bytes(pair.other, "adapters_bytes")
        if not whole or not adapters:
            continue
        percent = 100 * adapters / whole
        figure = Estimate(value=percent, low=percent, high=percent, n=len(pair.other.records))
        stance: Stance = "holds" if percent <= most_percent else "fails"
        what = f"{cell_text(pair.other.cell)}, rank {pair.other.cell.lora_rank}"
        rows.append(_row(pair, what, figure, stance, "", unit="%"))
    return rows


def _trains_one_model(group: Group) -> bool:
    row = METHODS.get(group.cell.method)
    return row is not None and row.trained_models == 1


def _ledger_bytes(group: Group, owner: str) -> int:
    counts = [r.ledger.get(owner, 0) for r in group.records if r.status == "ok" and r.ledger]
    return max(counts, default=0)


def fits_where_full_does_not(material: Material) -> list[Evidence]:
    """Pairs of which at least one side ran out of memory; a plan's word counts for nothing.

    Where the side that ran out of memory ran in another session of the same setting, what fits
    there is open.
    """
    ran = {(group.cell, group.place.setting) for group in material.groups if group.ran}
    rows = []
    for pair in _full_and_adapters(material.groups):
        full, adapters = _outcome(pair.base), _outcome(pair.other)
        if "oom" not in (full, adapters) or None in (full, adapters):
            continue
        found: tuple[Stance, str] = ("open", "both ran out of memory")
        if full == "ok":
            found = "fails", "full ran, and it ran out of memory"
        elif adapters == "ok":
            found = "holds", "it ran, and full ran out of memory"
        short = [
            side for side, said in ((pair.base, full), (pair.other, adapters)) if said == "oom"
        ]
        if any((side.cell, side.place.setting) in ran for side in short):
            found = "open", "what ran out of memory ran in another session of the same setting"
        if pair.other.records[0].memory.kind != VRAM:
            found = "apart", f"{found[1]}; {ON_CPU}"
        rows.append(_row(pair, cell_text(pair.other.cell), None, *found))
    return rows


def _outcome(group: Group) -> str | None:
    """``ok`` or ``oom`` where all replicates that were tried say so."""
    counts = Counter(record.status for record in group.records)
    del counts["predicted_oom"]
    (only,) = counts if len(counts) == 1 else (None,)
    return only if only in ("ok", "oom") else None


def near_parity(
    material: Material, *, accelerator: str, versus: str, at_most: float
) -> list[Evidence]:
    """Time of a step on one accelerator over that of the like cell on the other."""
    differ = {
        frozenset((check.one.device, check.other.device, check.one.cell.id, check.other.cell.id))
        for check in crosschecks(material.records, material.groups)
        if check.agrees is False
    }
    rows = []
    for alike in across_devices(material.groups):
        for base in (group for group in alike if group.cell.accelerator == versus):
            for other in (group for group in alike if group.cell.accelerator == accelerator):
                pair = Pairing(base=base, other=other, differing="")
                found, why = metric_ratio(base, other, "time")
                names = (base.device, other.device, base.cell.id, other.cell.id)
                if frozenset(names) in differ:
                    found, why = None, _LOSSES_DIFFER
                stance, text = _parity(found, why, at_most)
                what = f"{cell_text(other.cell)}: {other.device} against {base.device}"
                rows.append(_row(pair, what, found, stance, text, unit="time"))
    return rows


_LOSSES_DIFFER = "the two devices' losses differ, so their times are excluded"


def _parity(found: Estimate | None, why: str, at_most: float) -> tuple[Stance, str]:
    if found is None:
        return "open", why
    if found.low is None or found.high is None:
        return "open", _WORDS["not available"][1]
    if found.high <= at_most:
        return "holds", "faster" if found.high < 1 else ""
    return ("fails", "") if found.low > at_most else ("open", "the interval leaves it open")
