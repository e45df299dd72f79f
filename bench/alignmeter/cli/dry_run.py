"""`alignmeter run --dry-run`: what a run would measure, what it would need, and for how long."""

__all__ = ["list_cells"]

from collections.abc import Sequence
from pathlib import Path

import click

from alignmeter.records.folder import default_folder
from alignmeter.runs.past import seconds_before
from alignmeter.session import Planned
from alignmeter.text import counted
from alignmeter.units import bytes_text, seconds_text


def list_cells(plan: Sequence[Planned], replicates: int, out: Path | None) -> None:
    """A line for each cell, then how long all of them took before: in ``out``, or in results."""
    results = default_folder().parent
    places = [folder for folder in (out, results, *results.glob("*")) if folder is not None]
    before = seconds_before((p.cell.id for p in plan if p.measurable), places)
    for planned in plan:
        click.echo(f"{planned.cell.id}  {_known(planned, before.get(planned.cell.id))}".rstrip())
    count = sum(planned.measurable for planned in plan)
    click.echo(_time_text(list(before.values()), count, replicates))


def _time_text(before: Sequence[float], cells: int, replicates: int) -> str:
    """Of all replicates, from what those ``cells`` took that have records of this machine."""
    what = f"{counted(cells, 'cell')}, {counted(replicates, 'replicate')} each"
    if not before:
        return f"{what}: time unknown, no record of them from this machine in results or --out"
    text = f"{what}: at least {seconds_text(replicates * sum(before))}"
    if len(before) < cells:
        text += f" for {len(before)} of them, unknown for {cells - len(before)}"
    return f"{text}, by records of this machine"


def _known(planned: Planned, seconds: float | None) -> str:
    """``1.25 GiB planned, 12.3 s before``, or why it is not measured."""
    if planned.unsupported is not None:
        return f"unsupported: {planned.unsupported.text}"
    found = []
    if planned.predicted_peak_bytes is not None:
        found.append(f"{bytes_text(planned.predicted_peak_bytes)} planned")
    if seconds is not None:
        found.append(f"{seconds_text(seconds)} before")
    if planned.predicted_oom is not None:
        found.append(f"does not fit: {planned.predicted_oom.text}")
    return ", ".join(found)
