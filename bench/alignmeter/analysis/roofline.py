"""The least time that a step can take on a device: its roofline.

https://doi.org/10.1145/1498765.1498785. Whatever kernels run, a phase takes as long as its FLOPs at
the peak, as its bytes at the memory's bandwidth, and as what it sends at its links' bandwidth. A
bound, never a prediction.
"""

__all__ = ["Bound", "Ceilings", "MeasuredCeilings", "PhaseBound", "bound_of", "ceilings_of"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from alignmeter.analysis.chips import Peak
from alignmeter.analysis.links import Wires, wires_of
from alignmeter.records.demand import Demand

Limit = Literal["FLOP/s", "bandwidth", "links"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceilings:
    """What a device does at most: FLOPs of matrix products per s, and bytes that move per s.

    ``bytes_per_s``: size of a set of bytes, read over and over, -> bandwidth of sets of that size
    and more, since caches make small ones faster. Where only the memory's is known: that for 0.
    ``between``: of several devices; ``None`` where nobody knows, and what they send takes no time.
    """

    flops_per_s: float
    bytes_per_s: Mapping[int, float]
    between: Wires | None = None

    def bandwidth(self, set_bytes: int) -> float:
        """Of a set of so many bytes: that of the largest one that is no larger, if there is one."""
        smaller = (size for size in self.bytes_per_s if size <= set_bytes)
        return self.bytes_per_s[max(smaller, default=min(self.bytes_per_s))]


class MeasuredCeilings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a device that no table has: dense products in fp32 and, at their best, in bf16;
    ``bytes_per_s`` as in `Ceilings`.
    """

    fp32_flops_per_s: float
    bf16_flops_per_s: float
    bytes_per_s: dict[int, float]

    def of(self, *, bf16: bool) -> Ceilings:
        """Those of a cell whose products are in bf16, or in fp32."""
        flops = self.bf16_flops_per_s if bf16 else self.fp32_flops_per_s
        return Ceilings(flops_per_s=flops, bytes_per_s=self.bytes_per_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseBound:
    """Seconds that a phase takes at least, and which of the ceilings says so."""

    seconds: float
    limit: Limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Phase -> its bound, in the order of the step, whose phases follow one another."""

    phases: Mapping[str, PhaseBound]

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return sum(phase.seconds for phase in self.phases.values())

    @property
    def longest(self) -> tuple[str, Limit]:
        """The phase that takes most of it, and that phase's limit."""
        name = max(self.phases, key=lambda phase: self.phases[phase].seconds)
        return name, self.phases[name].limit


def bound_of(demand: Mapping[str, Demand], ceilings: Ceilings) -> Bound:
    """Phase by phase the longest of its times: they may pass side by side."""
    return Bound(phases={name: _phase(asked, ceilings) for name, asked in demand.items()})


def _phase(asked: Demand, ceilings: Ceilings) -> PhaseBound:
    sending = 0.0 if ceilings.between is None else ceilings.between.seconds(asked.sent_bytes)
    times: dict[Limit, float] = {
        "FLOP/s": asked.flops / ceilings.flops_per_s,
        "bandwidth": asked.moved_bytes / ceilings.bandwidth(asked.call_bytes),
        "links": sending,
    }
    limit = max(times, key=lambda name: times[name])
    return PhaseBound(seconds=times[limit], limit=limit)


def ceilings_of(chip: Peak, world_size: int = 1) -> Ceilings | None:
    """Those of a row of the table, and what so many of them have between them; ``None`` where one
    of the chip's two figures has no source.

    The dense BF16 peak serves every number format: fp32 and TF32 are slower on all of these chips.
    """
    if chip.bf16_flops_per_s is None or chip.bandwidth_bytes_per_s is None:
        return None
    return Ceilings(
        flops_per_s=chip.bf16_flops_per_s,
        bytes_per_s={0: chip.bandwidth_bytes_per_s},
        between=wires_of(chip, world_size),
    )
