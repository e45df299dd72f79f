"""Claims about two like cells: a ratio of time, energy or bytes, or which of them fits."""

__all__ = [
    "cheaper_energy",
    "cheaper_time",
    "fits_where_full_does_not",
    "less_vram",
    "metric_ratio",
    "near_parity",
    "thirty_percent",
    "trained_share",
]

from collections import Counter
from collections.abc import Callable, Sequence

from alignmeter.analysis.claims.evidence import Evidence, Material, Stance
from alignmeter.analysis.delta import Delta
from alignmeter.analysis.device_agreement import crosschecks
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate, outcome
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.pairings import CellGroup, Pairing, across_devices, cell_text, pairings
from alignmeter.records.record import VRAM

PPO_AXES = ("ppo_topology", "ppo_backward", "ppo_epochs", "ppo_minibatches")
PEFT_AXES = ("ref", "precision", "lora_rank", "quantiser")
THIRTY = (25.0, 35.0)
"""Per cent of PPO's peak: what "about 30 %" may mean."""
TINY = 5.0
"""Per cent of the weights: what "a tiny fraction" may mean at most."""
PARITY = 1.1
"""A step that takes more than a tenth longer is not near parity."""
_CPU = "tensor storage on the CPU, which is not VRAM"
_WORDS: dict[str, tuple[Stance, str]] = {
    "improved": ("holds", "the interval is below 1 and the change is above 3 %"),
    "equal": ("fails", "equal within 3 %"),
    "regressed": ("fails", "the interval is above 1 and the change is above 3 %"),
    "inconclusive": ("open", "the interval leaves it open"),
    "not available": ("open", f"fewer than {LEAST_REPLICATES} replicates on a side"),
}


def metric_ratio(base: CellGroup, other: CellGroup, name: str) -> tuple[Estimate | None, str]:
    """other / base of a metric, or ``None`` and why. Figures that must not be ranked are left out.

    ``name``: a key of `alignmeter.analysis.compare.METRICS`. Bytes are exact; else Welch on logs.
    """
    metric = METRICS[name]
    sides = base.side(name), other.side(name)
    for side in sides:
        if not side.values:
            why = side.spoiled_text if side.spoiled_values else side.text or "not measured"
            return None, why
    kinds = sides[0].kinds | sides[1].kinds
    if len(kinds) > 1:
        return None, f"unlike: {' and '.join(sorted(kinds))}"
    return metric.ratio(sides[1].values, sides[0].values), ""


def _dpo_ppo(groups: Sequence[CellGroup]) -> list[Pairing]:
    return pairings(groups, "method", "ppo", ("dpo",), PPO_AXES)


def _vram(material: Material, stance: Callable[[Delta], tuple[Stance, str]]) -> list[Evidence]:
    rows = []
    for delta in material.deltas:
        side, why = stance(delta) if delta.kind == VRAM else ("apart", _CPU)
        rows.append(
            Evidence(
                cells=(delta.dpo.id, delta.ppo.id),
                device=delta.device,
                what=cell_text(delta.ppo, without=("method",)),
                figure=Estimate(
                    value=delta.percent, low=delta.percent, high=delta.percent, n=delta.replicates
                ),
                unit="%",
                stance=side,
                why=why,
            )
        )
    return rows


def less_vram(material: Material) -> list[Evidence]:
    """Per cent of PPO's peak that DPO saves, more than the minimum effect or not."""

    def stance(delta: Delta) -> tuple[Stance, str]:
        least = 100 * METRICS["memory"].minimum
        return ("holds", "") if delta.percent >= least else ("fails", "DPO saves less than 1 %")

    return _vram(material, stance)


def thirty_percent(material: Material) -> list[Evidence]:
    """The same figure against "about 30 %"."""

    def stance(delta: Delta) -> tuple[Stance, str]:
        least, most = THIRTY
        if least <= delta.percent <= most:
            return "holds", ""
        return "fails", "DPO saves less" if delta.percent < least else "DPO saves more"

    return _vram(material, stance)


def _cheaper(groups: Sequence[CellGroup], name: str) -> list[Evidence]:
    rows = []
    for pair in _dpo_ppo(groups):
        if not _ran(pair):
            continue
        found, why = metric_ratio(pair.base, pair.other, name)
        stance: Stance = "open"
        if found is not None:
            stance, why = _WORDS[outcome(found, METRICS[name].minimum)]
        what = cell_text(pair.base.cell, without=("method",))
        rows.append(_row(pair, what, found, stance, why))
    return rows


def _ran(pair: Pairing) -> bool:
    return all(any(r.status == "ok" for r in side.records) for side in (pair.base, pair.other))


def _row(
    pair: Pairing, what: str, figure: Estimate | None, stance: Stance, why: str, unit: str = "x"
) -> Evidence:
    return Evidence(
        cells=(pair.other.cell.id, pair.base.cell.id),
        device=pair.other.device,
        what=what,
        figure=figure,
        unit=unit if figure is not None else "",
        stance=stance,
        why="; ".join(text for text in (why, pair.differing) if text),
    )


def cheaper_time(material: Material) -> list[Evidence]:
    """Time of a DPO step over that of a PPO step."""
    return _cheaper(material.groups, "time")


def cheaper_energy(material: Material) -> list[Evidence]:
    """Energy of a DPO step over that of a PPO step."""
    return _cheaper(material.groups, "energy")


def trained_share(material: Material) -> list[Evidence]:
    """Bytes of adapters over bytes of the policy trained in full, both in one number format.

    Only where one model is trained: PPO's value model has adapters of its own.
    """
    one = [group for group in material.groups if group.cell.method != "ppo"]
    rows = []
    for pair in pairings(one, "peft", "full", ("lora", "qlora"), PEFT_AXES):
        whole = _ledger_bytes(pair.base, "policy_weights_bytes")
        adapters = _ledger_bytes(pair.other, "adapters_bytes")
        if not whole or not adapters:
            continue
        percent = 100 * adapters / whole
        figure = Estimate(value=percent, low=percent, high=percent, n=len(pair.other.records))
        stance: Stance = "holds" if percent <= TINY else "fails"
        what = f"{cell_text(pair.other.cell)}, rank {pair.other.cell.lora_rank}"
        rows.append(_row(pair, what, figure, stance, "", unit="%"))
    return rows


def _ledger_bytes(group: CellGroup, owner: str) -> int:
    counts = [r.ledger.get(owner, 0) for r in group.records if r.status == "ok" and r.ledger]
    return max(counts, default=0)


def fits_where_full_does_not(material: Material) -> list[Evidence]:
    """Pairs of which at least one side ran out of memory; a plan's word counts for nothing."""
    rows = []
    for pair in pairings(material.groups, "peft", "full", ("lora", "qlora"), PEFT_AXES):
        full, adapters = _outcome(pair.base), _outcome(pair.other)
        if "oom" not in (full, adapters) or None in (full, adapters):
            continue
        found: tuple[Stance, str] = ("open", "both ran out of memory")
        if full == "ok":
            found = "fails", "full ran, and it ran out of memory"
        elif adapters == "ok":
            found = "holds", "it ran, and full ran out of memory"
        if pair.other.cell.accelerator == "cpu":
            found = "apart", f"{found[1]}; {_CPU}"
        rows.append(_row(pair, cell_text(pair.other.cell), None, *found))
    return rows


def _outcome(group: CellGroup) -> str | None:
    """``ok`` or ``oom`` where all replicates that were tried say so."""
    counts = Counter(record.status for record in group.records)
    del counts["predicted_oom"]
    (only,) = counts if len(counts) == 1 else (None,)
    return only if only in ("ok", "oom") else None


def near_parity(material: Material) -> list[Evidence]:
    """Time of an AMD step over that of an NVIDIA step of the like cell."""
    differ = {
        frozenset((check.one.device, check.other.device, check.one.cell.id, check.other.cell.id))
        for check in crosschecks(material.records)
        if check.agrees is False
    }
    rows = []
    for alike in across_devices(material.groups):
        for base in (group for group in alike if group.cell.accelerator == "cuda"):
            for other in (group for group in alike if group.cell.accelerator == "rocm"):
                pair = Pairing(base=base, other=other, differing="")
                found, why = metric_ratio(base, other, "time")
                names = (base.device, other.device, base.cell.id, other.cell.id)
                stance, text = _parity(found, why, losses_differ=frozenset(names) in differ)
                what = f"{cell_text(other.cell)}: {other.device} against {base.device}"
                rows.append(_row(pair, what, found, stance, text))
    return rows


def _parity(found: Estimate | None, why: str, *, losses_differ: bool) -> tuple[Stance, str]:
    if losses_differ:
        return "open", "the two devices' losses differ, so their times must not be ranked"
    if found is None:
        return "open", why
    if found.low is None or found.high is None:
        return "open", _WORDS["not available"][1]
    if found.high <= PARITY:
        return "holds", "faster" if found.high < 1 else ""
    return ("fails", "") if found.low > PARITY else ("open", "the interval leaves it open")
