"""Evidence of a claim's scale: what is said of billions of parameters, a small model cannot settle.

A small model's step is made of what does not grow with it: launches, Python, activations beside few
weights; and its adapters are a larger share of it. So its rows stand apart, with the reason.

How large a policy is, its ledger says: at most a parameter for every two bytes of its weights,
which is what the narrowest number format takes, and where they are quantised one for every half
byte (four bits). Where devices share them, each has its part.
"""

__all__ = ["of_its_scale", "parameters_at_most", "sizes"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from alignmeter.analysis.claims.evidence import Claim, Evidence
from alignmeter.analysis.likeness import Group
from alignmeter.registry import PEFT_MODES

_BYTES, _QUANTISED_BYTES = 2.0, 0.5
_WEIGHTS = "policy_weights_bytes"
_PREFIXES = ((1e9, "billion"), (1e6, "million"))


def parameters_at_most(group: Group) -> float | None:
    """Of the policy; ``None`` where no replicate has a ledger with weights."""
    counts = [record.ledger.get(_WEIGHTS, 0) for record in group.records]
    row = PEFT_MODES.get(group.cell.peft)
    quantised = row is not None and "quantiser" in row.axes
    size = group.cell.shards * max(counts, default=0) / (_QUANTISED_BYTES if quantised else _BYTES)
    return size or None


def sizes(groups: Iterable[Group]) -> dict[str, float]:
    """Id of a cell -> `parameters_at_most` of all its groups."""
    found: dict[str, float] = {}
    for group in groups:
        size = parameters_at_most(group)
        if size is not None:
            found[group.cell.id] = max(size, found.get(group.cell.id, 0.0))
    return found


def of_its_scale(
    claim: Claim, rows: Sequence[Evidence], known: Mapping[str, float]
) -> list[Evidence]:
    """``rows``, in their order; apart are those of models that are smaller than the claim's.

    ``known``: the `sizes` of all groups, which are many.
    """
    if not claim.scale:
        return list(rows)
    return [_judged(row, claim.scale, [known[id_] for id_ in row.cells if id_ in known])
            for row in rows]  # fmt: skip


def _judged(row: Evidence, scale: float, sizes: Sequence[float]) -> Evidence:
    if row.stance == "apart" or (sizes and min(sizes) >= scale):
        return row
    size = f"at most {_count(min(sizes))} parameters" if sizes else "a model of unknown size"
    why = f"{size}; it is said of {_count(scale)} and more"
    return replace(row, stance="apart", why="; ".join(filter(None, (why, row.why))))


def _count(parameters: float) -> str:
    """``2.2 million``, ``1 billion``."""
    for size, name in _PREFIXES:
        if parameters >= size:
            return f"{parameters / size:.4g} {name}"
    return f"{parameters:,.0f}"
