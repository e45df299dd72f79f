"""Which layers of a model get adapters."""

__all__ = ["chosen_targets", "targets_misfit"]

from alignmeter.architectures import Architecture, architecture_of
from alignmeter.cells.cell import Cell
from alignmeter.registry import LORA_TARGETS


def chosen_targets(architecture: Architecture, cell: Cell) -> tuple[str, ...]:
    """Last names of the layers of ``architecture`` that get adapters in the cell, in its order.

    Empty where it has none of those that the cell names.
    """
    names = _named(cell) or architecture.lora_targets
    return tuple(name for name in architecture.lora_targets if name in names)


def targets_misfit(cell: Cell) -> str | None:
    """Why these layers cannot get adapters, in words; ``None``: they can, or none could.

    A preset is what a model has of it; a name that is spelt out has to be there.
    """
    architecture = architecture_of(cell)
    have = architecture.lora_targets
    if not have:  # a family that has none says why
        return None
    preset = cell.lora_targets in LORA_TARGETS
    missing = [] if preset else [name for name in _named(cell) if name not in have]
    if not missing and chosen_targets(architecture, cell):
        return None
    what = " and ".join(missing) or f"lora_targets {cell.lora_targets}"
    return (
        f"{cell.architecture} has no {what} that can get adapters; it has {', '.join(have)} "
        "(lora_targets all-linear)"
    )


def _named(cell: Cell) -> tuple[str, ...]:
    """Empty: all that the architecture has."""
    return LORA_TARGETS.get(cell.lora_targets, tuple(cell.lora_targets.split("+")))
