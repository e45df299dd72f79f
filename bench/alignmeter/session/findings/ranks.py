"""What each rank of a replicate found, and the record's rows of it."""

__all__ = ["RanksFound", "ranks_of"]

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alignmeter.cells.cell import Cell
from alignmeter.records.links import KINDS, MeasuredLinks
from alignmeter.records.ranks import Collective, Communication, Rank, RankStatus
from alignmeter.records.reasons import Code
from alignmeter.records.record import Energy, Provenance, Reason
from alignmeter.session.findings.energy import settle, summed
from alignmeter.session.findings.throughput import typical
from alignmeter.telemetry.base import Sample
from alignmeter.worker.messages import EnergyWindow, MemoryProfile, ProcessPeaks, StepReport, Target

_UNASKED = Reason(
    code=Code.NOT_MEASURED,
    text="seconds of collectives want one more step: --operators profiles it",
)
_UNTOLD = Reason(
    code=Code.NOT_MEASURED, text="torch's profiler did not tell collectives from the step's work"
)
_SOURCE = "torch's profiler, one step"
_MEASURED = "alignmeter links, {:%Y-%m-%d}"
_KEPT = (Provenance, Target, MemoryProfile, ProcessPeaks, EnergyWindow)


@dataclass(kw_only=True, slots=True)
class RanksFound:
    """``size`` ranks. ``failed``: whose failure ended the replicate, where it was one rank's."""

    size: int
    failed: int | None = None
    _statuses: dict[int, RankStatus] = field(default_factory=dict)
    _phases: Sequence[str] = ()
    _last: dict[type, Sequence[Any]] = field(default_factory=dict)
    _steps: list[Sequence[StepReport]] = field(default_factory=list)
    _times: Sequence[dict[str, tuple[float, float]]] | None = None

    def note(self, verb: str, answers: Sequence[Any]) -> None:
        """Each rank's answer to one question, in order."""
        if verb == "begin_timed":
            self._steps.clear()
        elif verb == "step":
            self._steps.append(answers)
        elif verb == "communication_step":
            self._times = answers
        elif isinstance(answers[0], _KEPT):
            self._last[type(answers[0])] = answers

    def fail(self, ranks: Sequence[int], status: RankStatus, phases: Sequence[str]) -> None:
        """These ended it, that way; ``phases``: which each rank had begun last."""
        self.failed = ranks[0] if len(ranks) == 1 else None
        for rank in range(self.size):
            self._statuses[rank] = status if rank in ranks else "ended"
        self._phases = phases

    def rows(self, cell: Cell, samples: Sequence[Sample]) -> list[Rank]:
        """One for each rank. ``samples``: of rank 0's device."""
        return [self._row(rank, cell, samples) for rank in range(self.size)]

    def _row(self, rank: int, cell: Cell, samples: Sequence[Sample]) -> Rank:
        place, profile, peaks = (
            self._of(kind, rank) for kind in (Provenance, MemoryProfile, ProcessPeaks)
        )
        energy = self._energy(rank, samples)
        return Rank(
            rank=rank,
            node="" if place is None else place.host,
            device="" if place is None else self._device(rank),
            status=self._statuses.get(rank, "ok"),
            peak_bytes=None if profile is None else profile.peak_bytes,
            reserved_bytes=None if peaks is None else peaks.reserved_bytes,
            ledger={} if profile is None else profile.ledger,
            median_s=typical(cell, (reports[rank].seconds for reports in self._steps)),
            energy_j=None if energy is None else energy.per_step_j,
            last_phase=(self._phases[rank] or None) if self._phases else None,
        )

    def _of(self, kind: type, rank: int) -> Any:
        answers = self._last.get(kind)
        return None if answers is None else answers[rank]

    def _device(self, rank: int) -> str:
        """What tells it from another of its node: telemetry's name for it, or torch's."""
        target, place = self._of(Target, rank), self._of(Provenance, rank)
        told = None if target is None else target.device
        return str(told or place.uuid or place.device)

    def energy(self, samples: Sequence[Sample]) -> Energy | None:
        """Of all devices, each once; ``None`` before there was a window."""
        devices: dict[tuple[str, str], Energy] = {}
        for rank in range(self.size):
            found = self._energy(rank, samples)
            if found is None:
                return None
            place = self._of(Provenance, rank)
            devices.setdefault((place.host, self._device(rank)), found)
        return summed(list(devices.values()))

    def _energy(self, rank: int, samples: Sequence[Sample]) -> Energy | None:
        window, target = self._of(EnergyWindow, rank), self._of(Target, rank)
        if window is None or target is None:
            return None
        return settle(window, target, samples if rank == 0 else ())

    def sent(self) -> dict[str, dict[str, int]]:
        """Phase -> kind of collective -> bytes of one step; of no phase before the memory step."""
        profile: MemoryProfile | None = self._of(MemoryProfile, 0)
        found: dict[str, dict[str, int]] = {}
        for one in () if profile is None else profile.sent:
            if one.phase is not None:
                kinds = found.setdefault(one.phase, {})
                kinds[one.kind] = kinds.get(one.kind, 0) + one.nbytes
        return found

    def communication(self, links: MeasuredLinks | None = None) -> Communication | None:
        """Of one step; ``None`` before the memory step. ``links``: what was measured between these
        devices.

        Seconds are those of the rank that spent the fewest: it waited least for others.
        """
        profile: MemoryProfile | None = self._of(MemoryProfile, 0)
        if profile is None:
            return None
        times = min(self._times or [{}], key=lambda one: sum(total for total, _ in one.values()))
        kinds = {}
        for kind in dict.fromkeys(one.kind for one in profile.sent):
            sizes = [one.nbytes for one in profile.sent if one.kind == kind]
            total_s, exposed_s = times.get(kind, (None, None))
            kinds[kind] = Collective(
                calls=len(sizes),
                bytes=sum(sizes),
                total_s=total_s,
                exposed_s=exposed_s,
                bus_bytes_per_s=links.bandwidth(kind) if links and kind in KINDS else None,
            )
        reason = None if times else (_UNASKED if self._times is None else _UNTOLD)
        return Communication(
            kinds=kinds,
            source=_SOURCE if times else "",
            reason=reason,
            bandwidth_source="" if links is None else _MEASURED.format(links.measured),
        )


def ranks_of(cell: Cell) -> RanksFound | None:
    """For the ranks of the cell; ``None`` where one device takes its steps."""
    return RanksFound(size=cell.world_size) if cell.world_size > 1 else None
