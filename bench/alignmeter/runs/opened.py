"""One run: its locked folder, its plans, its records as they come, and its report."""

__all__ = ["OpenRun", "open_run"]

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.cells.settings import Settings
from alignmeter.records.capacity import CapacityPoint
from alignmeter.records.folder import Loaded, record_path, write_record, write_run_file
from alignmeter.records.lock import locked
from alignmeter.records.record import Record
from alignmeter.session import Planned, run_matrix
from alignmeter.session.launcher import Launcher
from alignmeter.session.nodes import open_nodes
from alignmeter.session.replicate import Finished
from alignmeter.session.run import Job, Listener, stored_record
from alignmeter.streams import LOG_FILE, log_to


@dataclass(kw_only=True)
class OpenRun:
    """A folder that is this process's own, and what was found for it so far.

    ``run``: its name in its records. ``capacity``: searches, which their surface stores.
    """

    folder: Path
    run: str
    launcher: Launcher
    capacity: list[CapacityPoint] = field(default_factory=list)
    _records: dict[Path, Record] = field(default_factory=dict)

    def resume(
        self,
        plan: Sequence[Planned],
        settings: Settings,
        *,
        replicates: int,
        listener: Listener,
        retry_invalid: bool = True,
    ) -> None:
        """Measure what the folder does not have yet: `run_matrix`.

        On any exception what was finished is stored, and a second run goes on there.
        """
        for record in run_matrix(
            plan,
            self.folder,
            settings,
            replicates=replicates,
            launcher=self.launcher,
            listener=listener,
            run=self.run,
            retry_invalid=retry_invalid,
        ):
            self._keep(record)

    def store(self, finished: Finished) -> Record:
        """Keep a replicate that the surface drove itself, in place of an earlier one of its name.

        Raises `InputError` if the folder cannot be written.
        """
        named = finished.of_run(self.run)
        write_record(self.folder, named.record, named.timeline)
        self._keep(named.record)
        return named.record

    def already(self, planned: Planned, replicate: int, settings: Settings) -> Path | None:
        """The file of a finished record of that replicate, as `resume` would let it stand if it
        retried nothing.

        The record is then one of this run's.
        """
        job = Job(planned=planned, replicate=replicate)
        record = stored_record(self.folder, job, settings, retry_invalid=False)
        if record is None or record.status != "ok":
            return None
        self._keep(record)
        return record_path(self.folder, record.cell.id, replicate)

    def _keep(self, record: Record) -> None:
        self._records[record_path(self.folder, record.cell.id, record.replicate)] = record

    @property
    def records(self) -> list[Record]:
        """Those of this run in the order in which they came, their clocks held together."""
        return with_clock_drift(list(self._records.values()))

    def report(self) -> tuple[Path, Path]:
        """Write ``report.html`` and ``report.csv`` over all that this run found; their paths.

        Raises `InputError` if they cannot be written.
        """
        from alignmeter_reports import write_report  # draws: half a second, after all measuring

        html, csv = self.folder / "report.html", self.folder / "report.csv"
        found = Loaded(
            records=self.records, refused=[], capacity=self.capacity, paths=list(self._records)
        )
        write_report(found, html, csv)
        return html, csv


@contextlib.contextmanager
def open_run(
    folder: Path, *, matrix: str, axes: Mapping[str, object], command: str
) -> Iterator[OpenRun]:
    """Lock the folder, write down what is asked for, and stop the workers in the end.

    What libraries print meanwhile is in ``DIR/alignmeter.log``.

    Raises `InputError` if another run holds the folder, if it cannot be written, or if another
    machine that is to take part does not come.
    """
    with locked(folder):
        run = write_run_file(folder, matrix, axes, command)
        with log_to(folder / LOG_FILE), open_nodes() as others, Launcher(others) as launcher:
            yield OpenRun(folder=folder, run=run, launcher=launcher)
