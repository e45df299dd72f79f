"""Model families: one file each, a table of shapes and what peft and NF4 may touch.

Others follow from a model's config alone (`alignmeter.architectures.checkpoint.family`).
"""

__all__ = [
    "Architecture",
    "ScalarModel",
    "architecture_of",
    "open_architecture",
    "vendor_missing",
]

from alignmeter.architectures.base import Architecture
from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.architectures.scalar import ScalarModel
from alignmeter.architectures.vendor import vendor_missing
from alignmeter.cells.cell import Cell
from alignmeter.registry import ARCHITECTURES, load


def open_architecture(name: str) -> Architecture:
    """The architecture of that name. Raises `InputError` for an unknown one."""
    architecture: Architecture = load(ARCHITECTURES, name)
    return architecture


def architecture_of(cell: Cell) -> Architecture:
    """The architecture of that cell: of its name, or what its model's config says.

    Raises `InputError` for a model that is not there.
    """
    if cell.architecture in ARCHITECTURES:
        return open_architecture(cell.architecture)
    return find_checkpoint(cell.model).family
