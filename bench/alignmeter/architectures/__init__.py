"""Model families: one file each, a table of shapes and what peft and NF4 may touch."""

__all__ = ["Architecture", "ScalarModel", "open_architecture", "vendor_missing"]

from alignmeter.architectures.base import Architecture
from alignmeter.architectures.scalar import ScalarModel
from alignmeter.architectures.vendor import vendor_missing
from alignmeter.registry import ARCHITECTURES, load


def open_architecture(name: str) -> Architecture:
    """The architecture of that name. Raises `InputError` for an unknown one."""
    architecture: Architecture = load(ARCHITECTURES, name)
    return architecture
