"""Before a run: a plan of each cell, and those that this machine's device cannot hold."""

__all__ = ["forecast"]

from collections.abc import Callable, Sequence
from dataclasses import replace

from alignmeter.accelerators import device_or_host, open_accelerator
from alignmeter.accelerators.cpu import host_memory
from alignmeter.planner.fit import ALLOWANCE, on_chip
from alignmeter.planner.store import plan_cell
from alignmeter.planner.trace import NotPlannedError
from alignmeter.records.record import VRAM, Reason
from alignmeter.session.resolve import Planned
from alignmeter.units import bytes_text


def forecast(
    plan: Sequence[Planned], warn: Callable[[str], None], planned: Callable[[], None] | None = None
) -> list[Planned]:
    """Each cell with its predicted peak, and a reason where that exceeds the device's memory.

    A cell whose plan fails is measured without one: ``warn`` gets a sentence. ``planned`` is called
    after each.
    """
    found = []
    for item in plan:
        found.append(item if item.unsupported is not None else _forecast_of(item, warn))
        if planned is not None:
            planned()
    return found


def _forecast_of(item: Planned, warn: Callable[[str], None]) -> Planned:
    try:
        prediction = plan_cell(item.cell)
    except NotPlannedError as error:
        warn(f"{item.cell.id}: no plan: {error}")
        return item
    chip = device_or_host(item.cell.accelerator).chip
    peak = on_chip(prediction, chip).peak_bytes
    item = replace(item, predicted_peak_bytes=peak)
    name, capacity, needed = _device(item, peak)
    if capacity is None or needed <= capacity:
        return item
    size = item.cell.world_size
    each = f" on each of {size} devices" if size > 1 else ""
    text = (
        f"{bytes_text(needed)} needed ({bytes_text(peak)} peak{each} and an allowance), "
        f"{bytes_text(capacity)} on {name}"
    )
    reason = Reason(code="predicted_out_of_memory", text=text)
    return replace(item, predicted_oom=reason)


def _device(item: Planned, peak: int) -> tuple[str, int | None, int]:
    """Name and capacity of the cell's device, and what the cell needs there.

    Without VRAM that is what is free now within the host's limits, for the processes of all ranks
    together, and there is no context to pay for.
    """
    if open_accelerator(item.cell.accelerator).memory_kind != VRAM:
        memory = host_memory()
        within = f" within {memory.free_by}" if memory.free_by else ""
        return f"this host now{within}", memory.free_bytes, item.cell.world_size * peak
    device = device_or_host(item.cell.accelerator)
    return device.name, device.memory_bytes, ALLOWANCE.needed_bytes(peak)
