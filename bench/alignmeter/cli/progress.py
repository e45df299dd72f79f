"""What is running, what is left and how long it may take."""

__all__ = ["Counted", "Progress", "Remaining", "counted"]

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from alignmeter.records.record import Record
from alignmeter.session.run import Job
from alignmeter.streams import tell, user_stream
from alignmeter.units import bytes_text, seconds_text


@contextlib.contextmanager
def counted(what: str, total: int | None) -> Iterator["Counted"]:
    """On a terminal a bar that the result advances by one; elsewhere nothing.

    ``total``: ``None`` where it is not known before.
    """
    console = Console(file=user_stream())
    columns = TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn()
    # Its own redirection would show what libraries say; it belongs into the log.
    bar = Bar(
        *columns, console=console, transient=True, disable=not console.is_terminal,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    bar.add_task(what, total=total)
    with bar:
        yield Counted(bar)


class Counted:
    """A bar on a line of its own."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def __call__(self) -> None:
        """One more."""
        self._bar.advance(self._bar.task_ids[0])

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Within the context the bar is gone, so that a line starts where it stood."""
        if self._bar.disable:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def tell(self, text: str) -> None:
        """One line to the user."""
        with self.aside():
            tell(text)


class Remaining:
    """Seconds that are left, from those that measured replicates took: what was there already took
    none and says nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._took = 0, list[float]()
        self._began = clock()

    def expects(self, count: int) -> None:
        """So many replicates are to be measured from now on."""
        self._left = count

    def begins(self) -> None:
        """One of them starts, or what looks like one."""
        self._began = self._clock()

    def ends(self) -> None:
        """It was measured."""
        self._left -= 1
        self._took.append(self._clock() - self._began)

    def seconds(self) -> float | None:
        """``None`` before the first has ended."""
        if not self._took:
            return None
        each = sum(self._took) / len(self._took)
        return max(0.0, each * self._left - (self._clock() - self._began))


class _Left(ProgressColumn):
    def __init__(self, remaining: Remaining) -> None:
        super().__init__()
        self._remaining = remaining

    def render(self, task: Task) -> Text:  # noqa: ARG002 - all tasks have one estimate
        """``0:02:05``, or dashes."""
        seconds = self._remaining.seconds()
        text = "-:--:--" if seconds is None else str(timedelta(seconds=round(seconds)))
        return Text(text, style="progress.remaining")


class Progress:
    """A line per finished cell and, on a terminal, a bar with an estimate below."""

    def __init__(self, total: int) -> None:
        self._remaining = Remaining()
        self._console = Console(file=user_stream(), highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            _Left(self._remaining),
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

    def expects(self, count: int) -> None:
        """So many are to be measured."""
        self._remaining.expects(count)

    def begins(self, job: Job) -> None:
        """Show the cell that runs now."""
        self._remaining.begins()
        cell = job.planned.cell
        what = f"{cell.method} {cell.architecture} {cell.peft} r{job.replicate}"
        self._bar.update(self._task, description=what)

    def ends(self, job: Job, record: Record, *, resumed: bool) -> None:
        """Print the cell's line."""
        if not resumed and job.planned.measurable:
            self._remaining.ends()
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
