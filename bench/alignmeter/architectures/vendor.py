"""Kernels of other projects: what an architecture takes from them, and whether it is installed.

An architecture takes all the packages of its row or none: with some of them missing, a cell would
mix paths, and its name would not say which.
"""

__all__ = ["Vendor", "vendor_missing"]

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from torch import nn

from alignmeter.accelerators import open_accelerator
from alignmeter_kernels.paths import note


@dataclass(frozen=True, kw_only=True, slots=True)
class Vendor:
    """``packages``: name of the module -> name on the package index.

    ``operators``: operator -> the module that then runs it. ``patch`` changes a built model in
    place where transformers does not find the package by itself.
    """

    packages: dict[str, str]
    operators: dict[str, str]
    patch: Callable[[nn.Module], object] | None = None

    def apply(self, model: nn.Module) -> None:
        """Give ``model`` the packages' kernels, and note them with their versions."""
        if self.patch is not None:
            self.patch(model)
        for operator, module in self.operators.items():
            note(operator, f"{module} {metadata.version(self.packages[module])}")


def vendor_missing(vendor: Vendor | None, name: str, accelerator: str) -> str | None:
    """Why ``kernels = vendor`` cannot run ``name`` there, or ``None``."""
    if vendor is None:
        return f"no other project's kernels are wired for {name}; use kernels = custom or stock"
    wanted = " and ".join(vendor.packages.values())
    if not open_accelerator(accelerator).vendor_kernels:
        return f"{wanted} have no kernels for {accelerator}; use kernels = custom or stock"
    absent = [package for module, package in vendor.packages.items() if find_spec(module) is None]
    if absent:
        return f"{', '.join(absent)} not installed; pip install 'alignmeter[vendor-kernels]'"
    return None
