"""The runs below a folder, one at a time: a run is a folder with a ``run.json``."""

__all__ = ["moment", "no_time", "read_runs"]

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from alignmeter.analysis import likeness
from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.errors import InputError
from alignmeter.records.documents import documents_in, runs_of
from alignmeter.records.folder import load_documents
from alignmeter.records.record import Record


def moment(record: Record, run: str) -> datetime:
    """When the replicate started. Raises `InputError` that names ``run`` if that is no time."""
    found = likeness.moment(record)
    if found == likeness.UNKNOWN:
        raise no_time(run, record.cell.id, record.provenance.started)
    return found


def no_time(run: str, cell_id: str, started: str) -> InputError:
    """The error that says so."""
    return InputError(
        f"{run}: provenance.started of {cell_id} is {started!r}; a time such as "
        "2026-01-31T10:00:00+00:00 would be right"
    )


def read_runs(folder: Path, refused: list[str]) -> Iterator[tuple[str, Record]]:
    """Each record below ``folder`` with the name of its run, run by run.

    A run's name is its path below ``folder``. A record belongs to the nearest folder above it that
    has a ``run.json``, and without one to the folder it lies in. A copied run is read once. A file
    that is no record adds a sentence to ``refused``, the rest is still read.
    Raises `InputError` if the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds runs")
    documents = documents_in(folder, refused)
    told = set(refused)
    seen: set[tuple[object, ...]] = set()
    for place, paths in runs_of(documents.paths):
        run = str(place.relative_to(folder)) if place != folder else place.resolve().name
        loaded = load_documents(documents, paths)
        refused.extend(text for text in loaded.refused if text not in told)
        told.update(loaded.refused)
        for record in with_clock_drift(loaded.records):
            said = record.provenance
            device = said.uuid or said.pci_bus_id
            key = (record.cell.id, record.replicate, said.started, said.host, device)
            if key in seen:
                continue
            seen.add(key)
            try:
                moment(record, run)
            except InputError as error:
                refused.append(str(error))
            else:
                yield run, record
