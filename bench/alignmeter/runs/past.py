"""How long cells took before on this machine: what a dry run can say of their time."""

__all__ = ["seconds_before"]

import glob
import platform
import statistics
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from alignmeter.errors import InputError
from alignmeter.records.folder import read_record
from alignmeter.records.record import Record

_NEWEST = 3
"""Records of a cell that are read, the newest first."""


def seconds_before(cell_ids: Iterable[str], folders: Iterable[Path]) -> dict[str, float]:
    """Id of a cell -> median seconds of a replicate, of those that have records in ``folders``.

    Start, build, compilation and steps are counted; the memory step, a reference and telemetry
    are not, so a replicate takes at least as long.
    """
    places = list(folders)
    found = {}
    for name in cell_ids:
        seconds = [_seconds(record) for record in islice(_records(name, places), _NEWEST)]
        if seconds:
            found[name] = statistics.median(seconds)
    return found


def _records(cell_id: str, folders: list[Path]) -> Iterator[Record]:
    """Those of this machine that are ok, the newest file first."""
    files = [path for f in folders for path in f.glob(f"{glob.escape(cell_id)}.r*.json")]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            record = read_record(path)
        except (OSError, InputError):
            continue
        if record.status == "ok" and record.provenance.host == platform.node():
            yield record


def _seconds(record: Record) -> float:
    timing = record.timing
    once = (timing.worker_start_s, timing.build_s, timing.compile_s)
    return sum(filter(None, once)) + sum(timing.warmup_s) + sum(timing.step_s)
