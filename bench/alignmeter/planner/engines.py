"""What a plan knows of a rollout engine, and what only a measurement tells."""

__all__ = ["unplanned", "unplanned_peak"]

from alignmeter.accelerators.base import Accelerator
from alignmeter.cells.cell import Cell
from alignmeter.registry import METHODS, ROLLOUTS, RolloutRow, row_of


def unplanned(cell: Cell, accelerator: Accelerator) -> str | None:
    """Why the cell has no plan on that device, in words; ``None``: it has one."""
    row = _row(cell)
    if row is None:
        return None
    if row.served:
        return f"what {cell.rollout} holds of the device is its own; only a measurement can tell"
    if row.compiled and accelerator.records_graphs:
        return (
            f"graphs of rollout = {cell.rollout} keep buffers of their own on {accelerator.name}; "
            "only a measurement can tell"
        )
    return None


def unplanned_peak(cell: Cell, peak_phase: str | None) -> str | None:
    """Why a traced peak in that phase is none, in words; ``None``: it stands.

    A compiled decoding step is traced as it is before it is compiled. Its cache is the same, and so
    is every other phase; what it has beside them, a compiler decides.
    """
    row = _row(cell)
    if row is None or not row.compiled or peak_phase != "rollout":
        return None
    return (
        f"the peak is in the decoding step of rollout = {cell.rollout}, whose buffers "
        "the compiler decides; only a measurement can tell"
    )


def _row(cell: Cell) -> RolloutRow | None:
    """That of its engine, if it samples."""
    return row_of(ROLLOUTS, cell.rollout) if row_of(METHODS, cell.method).rollouts else None
