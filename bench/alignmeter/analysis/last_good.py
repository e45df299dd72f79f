"""The last good run of each kind of node: what a night is compared with when the one before failed.

A kind of node is a device with its form factor, partition, power limit and, of a CPU, its threads:
`likeness.Place.hardware`. A run is **good** on it if each of its replicates there was measured, its
numbers agree, and no figure that it has is invalid. What nobody can measure there, such as energy
on most CPUs, is no fault of a run.
"""

__all__ = ["LastGood", "last_good"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from alignmeter.analysis.likeness import moment, place_of
from alignmeter.analysis.metrics import METRICS
from alignmeter.errors import InputError
from alignmeter.records.record import Record

_Kind = tuple[object, ...]


@dataclass(kw_only=True)
class LastGood:
    """``records``: of the chosen runs. ``runs``: for each its device, its name and its start."""

    records: list[Record] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Candidate:
    started: datetime
    run: str
    records: list[Record]


def last_good(
    runs: Iterable[tuple[str, Record]], new: Sequence[Record], *, same_versions: bool = False
) -> LastGood:
    """For each kind of node in ``new``, the last good run that began before ``new`` did there.

    ``runs``: records with the name of their run, run by run, as `history.read_runs` gives them; the
    run must have a cell of ``new``. ``same_versions``: only runs in the same environment (versions,
    driver, variables). Raises `InputError` if no kind has such a run.
    """
    wanted = _by_kind(new, same_versions=same_versions)
    begun = {kind: min(map(moment, records)) for kind, records in wanted.items()}
    cells = {kind: {r.cell.without() for r in records} for kind, records in wanted.items()}
    best: dict[_Kind, _Candidate] = {}
    for run, pairs in groupby(runs, key=lambda pair: pair[0]):
        listed = [record for _, record in pairs]
        if any(not _is_good(r) and not r.provenance.device for r in listed):
            continue  # whose worker died before it said where: it may have been any of them
        for kind, records in _by_kind(listed, same_versions=same_versions).items():
            found = _Candidate(min(map(moment, records)), run, records)
            if (
                kind in wanted
                and found.started < begun[kind]
                and (kind not in best or best[kind].started < found.started)
                and all(map(_is_good, records))
                and not cells[kind].isdisjoint(r.cell.without() for r in records)
            ):
                best[kind] = found
    if not best:
        what = "kind of node and of these versions" if same_versions else "kind of node"
        raise InputError(f"no run before NEW is good on its {what}; give one as BASE by its folder")
    chosen = LastGood()
    for candidate in best.values():
        chosen.records += candidate.records
        device = candidate.records[0].provenance.device or "an unknown device"
        chosen.runs.append(f"{device}: {candidate.run} of {candidate.started:%Y-%m-%d %H:%M}")
    return chosen


def _by_kind(records: Iterable[Record], *, same_versions: bool) -> dict[_Kind, list[Record]]:
    found: dict[_Kind, list[Record]] = defaultdict(list)
    for record in records:
        place = place_of(record)
        found[place.setting if same_versions else place.hardware].append(record)
    return found


def _is_good(record: Record) -> bool:
    if record.status != "ok":
        return False
    counts = {"numerics"}
    for metric in METRICS.values():
        if metric.pick(record) is not None:
            counts.update(metric.validity)
    return all(record.validity[name].ok for name in counts if name in record.validity)
