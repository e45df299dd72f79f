"""The Python interface: what the commands do, as functions that return what they found.

Each is a name of the package itself: ``alignmeter.run_cell(method="dpo", peft="lora")``.
"""

__all__ = ["compare", "plan", "read_records", "report", "run_cell"]

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmeter.analysis.compare import Comparison
from alignmeter.analysis.compare import compare as compared
from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.settings import SETTINGS, read_settings
from alignmeter.errors import InputError, known
from alignmeter.records.folder import Loaded, load_folders, no_records
from alignmeter.records.prediction import Prediction
from alignmeter.records.record import Record

if TYPE_CHECKING:  # imports torch, for which reading records should not wait
    from alignmeter.session import Planned


def read_records(*folders: str | Path) -> list[Record]:
    """The records in these folders, in the order of their files; older ones as today's.

    Raises `InputError` for a folder that is none, for one without records, and for a file that is
    no record, with the first of them.
    """
    places = [Path(folder) for folder in folders]
    loaded = load_folders(places)
    if loaded.refused:
        raise InputError(loaded.refused[0])
    if not loaded.records:
        raise no_records(places)
    return loaded.records


def run_cell(*, settings: dict[str, Any] | None = None, **axes: AxisValue) -> Record:
    """Measure one replicate of the cell with these axes, in a process of its own.

    ``axes``: as of the command, ``seq_len=256``; what is not named has its default. ``settings``:
    ``steps``, ``warmup``, ``seed``, ``timeout_s``, ``operators``, ``sample_hz``. Times in s, memory
    in bytes, energy in J. A cell that cannot be measured is a record too, with its status and
    reason. Raises `InputError` for an unknown axis or value.
    """
    from alignmeter.session import measure
    from alignmeter.session.launcher import Launcher

    for name in settings or {}:
        if name not in SETTINGS:
            raise InputError(f"{name!r} is no setting; {known(SETTINGS, name)}")
    planned, how = _resolved(axes), read_settings(settings or {})
    with Launcher() as launcher:
        return measure(planned, 0, how, launcher).record


def plan(**axes: AxisValue) -> Prediction:
    """The peak of one step of the cell in bytes, whose bytes these are, and its least time by
    phase; nothing runs, and the device need not be here: ``accelerator="cuda"``.

    Raises `InputError` for an unknown axis or value, and `alignmeter.NotPlannedError` for a cell
    that contradicts itself or cannot be traced.
    """
    from alignmeter.planner import NotPlannedError, plan_cell

    planned = _resolved(axes)
    if planned.contradiction is not None:
        raise NotPlannedError(planned.contradiction.text)
    return plan_cell(planned.cell)


def compare(base: Sequence[Record], new: Sequence[Record], *, paired: bool = False) -> Comparison:
    """A verdict for each cell and metric of ``new`` versus ``base``, with ratio and 95 % interval.

    ``paired``: replicates of one number were measured in turns. Raises `InputError` if no cell of
    one side is like one of the other.
    """
    return compared(base, new, paired=paired)


def report(
    records: Sequence[Record], html: str | Path, *, title: str = "alignmeter report"
) -> Path:
    """Write the page over ``records`` to ``html``; returns its path.

    Raises `InputError` if it cannot be written.
    """
    from alignmeter_reports import write_report

    write_report(Loaded(records=list(records), refused=[]), Path(html), title=title)
    return Path(html)


def _resolved(axes: dict[str, AxisValue]) -> "Planned":
    """Raises `InputError` for an axis or a value that is none."""
    from alignmeter.cells.matrix import read_overrides
    from alignmeter.session.resolve import resolve_cell

    for name in axes:
        if name not in AXES:
            raise InputError(f"{name!r} is no axis of a cell; {known(AXES, name)}")
    chosen = read_overrides({name: str(value) for name, value in axes.items()})
    for name, values in chosen.items():
        if len(values) > 1:
            raise InputError(f"{name}: one cell has one {name}, not {', '.join(map(str, values))}")
    return resolve_cell({name: values[0] for name, values in chosen.items()})
