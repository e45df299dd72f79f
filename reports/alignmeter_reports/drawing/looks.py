"""How a part of a bar looks: each phase and each owner the same in every chart of every method."""

__all__ = ["Look", "looks"]

from collections.abc import Iterable
from typing import NamedTuple

from alignmeter_reports.drawing.svg import HATCHES, PALETTE


class Look(NamedTuple):
    """A colour, and a hatch that tells it from others without any colour."""

    colour: str
    hatch: str


def _of(index: int, hatch: str | None = None) -> Look:
    return Look(PALETTE[index], HATCHES[index] if hatch is None else hatch)


_KNOWN: dict[str, Look] = {
    # Owners of memory, with spaces as charts have them. Weights are plain, states are hatched.
    "policy weights": _of(0),
    "ref weights": _of(1),
    "reward weights": _of(2),
    "value weights": _of(3),
    "teacher weights": _of(6, "///"),
    "adapters": _of(4),
    "quantisation state": _of(4, "xxx"),
    "gradients": _of(5),
    "optimizer state": _of(6),
    "rollout cache": _of(2, "---"),
    "gathered weights": _of(0, "///"),
    "communication": _of(5, "---"),
    "activations": _of(7),
    "workspace": _of(0, "xxx"),
    "library workspace": _of(1, "|||"),
    "batch": _of(3, "///"),
    "unattributed": _of(8, "xxx"),
    "other": _of(8),
    # Phases of a step.
    "ref_precompute": _of(1, "---"),
    "engine_start": _of(8, "---"),
    "weight_sync": _of(8),
    "rollout": _of(2),
    "scoring": _of(3),
    "ref_forward": _of(1),
    "forward": _of(0),
    "backward": _of(5),
    "optimizer": _of(6),
}
_OTHERS = [
    Look(colour, hatch) for hatch in ("", "\\\\\\", "|||", "+++") for colour in reversed(PALETTE)
]
"""For names that this version does not know: in turns, those that nothing else in the chart has."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look per name, in their order; beyond all that there are, the last one."""
    listed = list(dict.fromkeys(names))
    found = {name: _KNOWN[name] for name in listed if name in _KNOWN}
    free = [look for look in _OTHERS if look not in found.values()]
    strange = [name for name in listed if name not in _KNOWN]
    found |= {name: free[min(k, len(free) - 1)] for k, name in enumerate(strange)}
    return {name: found[name] for name in listed}
