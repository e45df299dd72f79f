"""Which packages a step is made of: what is imported, and what is installed, where the two differ.

A checkout in the working directory or on ``PYTHONPATH`` and an editable install are imported in
place of what the package's metadata speak of, whose version then says nothing.
"""

__all__ = ["PACKAGES", "imported_elsewhere", "imported_versions", "installed_versions"]

import importlib.util
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = {
    "alignmeter": "alignmeter",
    "torch": "torch",
    "transformers": "transformers",
    "peft": "peft",
    "bitsandbytes": "bitsandbytes",
    "triton": "triton",
    "mamba-ssm": "mamba_ssm",
    "causal-conv1d": "causal_conv1d",
    "numpy": "numpy",
}
"""Packages that decide what a step does -> the module that each is imported as."""
_OWN = "alignmeter"
"""Its commit says what was imported (`provenance.source_commit`)."""


@cache
def installed_versions() -> dict[str, str]:
    """Name -> version of Python and of every package that is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def imported_elsewhere() -> dict[str, str]:
    """Name -> file of what is imported from elsewhere than where the package is installed.

    Nothing is imported for the answer, so that every process of a run gives the same.
    """
    found = {}
    for package, module in PACKAGES.items():
        file = None if package == _OWN else _file(module)
        if file is not None and not _installed(package, file):
            found[package] = str(file)
    return found


def imported_versions() -> dict[str, str]:
    """`installed_versions`, but of what is imported from elsewhere its own ``__version__``.

    Such a module that says none, or is not imported yet, has the version ``unknown``.
    """
    found = dict(installed_versions())
    for package in imported_elsewhere():
        module = sys.modules.get(PACKAGES[package])
        found[package] = str(getattr(module, "__version__", "unknown"))
    return found


def _file(module: str) -> Path | None:
    """Of the module as it was imported, or as it would be."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        said = getattr(loaded, "__file__", None)
        return None if said is None else Path(said)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    # A folder without code (a namespace package) has no origin, and is no package of ours.
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _installed(package: str, file: Path) -> bool:
    """Whether the file lies where the package's metadata do."""
    try:
        place = Path(str(metadata.distribution(package).locate_file("")))
    except metadata.PackageNotFoundError:
        return False
    return file.is_relative_to(place) or file.resolve().is_relative_to(place.resolve())
