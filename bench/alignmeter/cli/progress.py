"""What is running, what is left and how long it may take."""

__all__ = ["Progress", "counted"]

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from alignmeter.records.record import Record
from alignmeter.session.run import Job
from alignmeter.streams import user_stream
from alignmeter.units import bytes_text, seconds_text


@contextlib.contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[], None]]:
    """On a terminal a bar that the result advances by one; elsewhere nothing."""
    console = Console(file=user_stream())
    columns = TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn()
    bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


class Progress:
    """A line per finished cell and, on a terminal, a bar with an estimate below."""

    def __init__(self, total: int) -> None:
        self._console = Console(file=user_stream(), highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begins(self, job: Job) -> None:
        """Show the cell that runs now."""
        cell = job.planned.cell
        what = f"{cell.method} {cell.architecture} {cell.peft} r{job.replicate}"
        self._bar.update(self._task, description=what)

    def ends(self, job: Job, record: Record, *, resumed: bool) -> None:
        """Print the cell's line."""
        if record.status == "ok":
            time = seconds_text(record.timing.median_s or 0.0)
            peak = bytes_text(record.memory.allocated_peak_bytes or 0)
            outcome = f"{time:>8} {peak:>9}"
        else:
            outcome = record.reason.text if record.reason else ""
        again = " (already there)" if resumed else ""
        line = f"{record.status:<11} {record.cell.id}.r{job.replicate} {outcome}{again}"
        self._console.print(line, markup=False)
        self._bar.advance(self._task)
