"""AMD SMI's Python binding: which copy is loaded, and whether it fits the library.

``import amdsmi`` without ROCm prints and raises `KeyError`, with an older library `AttributeError`
(amdsmi_wrapper.py of 7.0 binds 184 symbols); from ROCm 7.14 on it succeeds, and the first call
raises `OSError`. So nothing is imported on a machine without ROCm and AMD GPU, and whatever an
import raises becomes a reason.
"""

__all__ = ["Binding", "load_binding"]

import ctypes
import importlib.util
import io
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from alignmeter.telemetry.amd.answers import Refused, ask
from alignmeter.telemetry.amd.release import misfit, rocm_version
from alignmeter.telemetry.base import NoTelemetry

KFD = Path("/dev/kfd")
"""The compute driver's device: amdgpu is loaded and has a GPU."""
OPT = Path("/opt")
WHEEL = "_rocm_sdk_core"
"""TheRock's wheels have ROCm in this package: lib/ and share/amd_smi/ (packaging.md of AMD SMI)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """The loaded module, and the ROCm that it belongs to, e.g. ``7.0.2``, where that is known."""

    smi: Any
    rocm: str | None


def load_binding() -> Binding | NoTelemetry:
    """The binding that fits the library here, or the reason why there is none.

    ROCm's own copy comes first, then the interpreter's; one that somebody has imported already
    (torch for ROCm does) is used as it is, since a second copy would share its library.
    """
    roots = _rocm_roots()
    libraries = [file for root in roots for file in sorted(root.glob("lib*/libamd_smi.so*"))]
    if not KFD.exists() and not libraries:
        return NoTelemetry(
            f"no AMD GPU and no ROCm here: neither {KFD} nor a libamd_smi.so",
            "on a machine with an AMD GPU: load amdgpu and install ROCm, or set ROCM_PATH to it",
        )
    reasons = []
    for package in _packages(roots):
        found = _load(package)
        if isinstance(found, Binding):
            return found
        reasons.append(found)
    if not reasons:
        return NoTelemetry(
            "no Python package amdsmi",
            "install ROCm's own (package amd-smi-lib), or the release of PyPI that fits ROCm: "
            "pip install 'amdsmi==7.0.*' for ROCm 7.0",
        )
    remedies = [reason.remedy for reason in reasons if reason.remedy]
    return NoTelemetry("; ".join(r.words for r in reasons), (*remedies, _HOW_TO_INSTALL)[0])


_HOW_TO_INSTALL = "install ROCm's AMD SMI (package amd-smi-lib), or set ROCM_PATH to where ROCm is"


def _rocm_roots() -> list[Path]:
    """Where ROCm may be, the preferred first.

    That of TheRock's wheels comes before all: torch from there has loaded its libamd_smi.so, and
    with a second copy in one process AMD SMI sees no GPU (pytorch/pytorch#186516). Then in the
    order of the binding's own search (amdsmi_wrapper.py before 27, which looks beside itself only).
    """
    spec = importlib.util.find_spec(WHEEL)
    wheels = [] if spec is None else list(spec.submodule_search_locations or [])
    named = [os.environ[name] for name in ("ROCM_HOME", "ROCM_PATH") if os.environ.get(name)]
    # TheRock's packages live one folder deeper: docs/packaging.md of AMD SMI 27.
    usual = [OPT / "rocm", OPT / "rocm" / "core", *sorted(OPT.glob("rocm-*"), reverse=True)]
    return [Path(name) for name in (*wheels, *named)] + usual


def _packages(roots: list[Path]) -> list[Path]:
    """Folders of the package ``amdsmi``, the preferred first."""
    loaded = sys.modules.get("amdsmi")
    if loaded is not None and loaded.__file__:
        return [Path(loaded.__file__).parent]
    found = [root / "share" / "amd_smi" / "amdsmi" for root in roots]
    found = [package for package in found if (package / "__init__.py").exists()]
    spec = importlib.util.find_spec("amdsmi")
    if spec is not None and spec.origin:
        found.append(Path(spec.origin).parent)
    return found


def _load(package: Path) -> Binding | Refused:
    """That copy, if it can be imported and fits the library which it found."""
    ours = "amdsmi" not in sys.modules
    module = _import(package) if ours else sys.modules["amdsmi"]
    if isinstance(module, Refused):
        library = _any_library()  # an older one lacks symbols: say which two do not fit
        return (library and misfit(package, library, None)) or module
    found = _checked(package, module)
    if ours and isinstance(found, Refused):
        _forget()
    return found


def _checked(package: Path, module: ModuleType) -> Binding | Refused:
    library = _library(module)
    if library is not None:
        return misfit(package, library, module) or Binding(smi=module, rocm=rocm_version(library))
    # From ROCm 7.14 on the binding tells with its first call what it could not load.
    told = ask(module, "amdsmi_get_lib_version")
    words = " ".join(told.words.split()) if isinstance(told, Refused) else "it has no library"
    return Refused(f"{package} was imported without a libamd_smi.so: {words}")


def _import(package: Path) -> ModuleType | Refused:
    said = io.StringIO()
    _forget()
    try:
        with redirect_stdout(said):
            spec = importlib.util.find_spec("amdsmi")
            if spec is not None and spec.origin == str(package / "__init__.py"):
                return import_module("amdsmi")
            return _import_from(package)
    except Exception as error:  # noqa: BLE001 - KeyError, AttributeError, OSError: by version
        _forget()
        detail = said.getvalue().partition("\n")[0] or f"{type(error).__name__}: {error}"
        return Refused(f"{package} cannot be imported: {detail}")


def _import_from(package: Path) -> ModuleType:
    """A package that is not on the search path, which stays as it is."""
    spec = importlib.util.spec_from_file_location(
        "amdsmi", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is no Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules["amdsmi"] = module
    spec.loader.exec_module(module)
    return module


def _forget() -> None:
    """Drop what a failed import leaves, lest the next copy finds the first one's submodules."""
    for name in [n for n in sys.modules if n == "amdsmi" or n.startswith("amdsmi.")]:
        del sys.modules[name]


def _library(module: ModuleType) -> Path | None:
    """The file that the binding has loaded; ``None`` if it stands there without one."""
    handles = getattr(getattr(module, "amdsmi_wrapper", None), "_libraries", {})
    for handle in handles.values():
        function = getattr(handle, "amdsmi_init", None)
        if isinstance(handle, ctypes.CDLL) and function is not None:
            address = ctypes.cast(function, ctypes.c_void_p).value or 0
            return next((file for span, file in _mapped() if address in span), None)
    return None


def _any_library() -> Path | None:
    return next((file for _, file in _mapped() if file.name.startswith("libamd_smi")), None)


def _mapped() -> list[tuple[range, Path]]:
    """This process's files in memory, symbolic links resolved: addresses and file."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():  # Linux, as all of ROCm
        fields = line.split(maxsplit=5)
        if len(fields) > 5:
            begin, end = (int(address, 16) for address in fields[0].split("-"))
            found.append((range(begin, end), Path(fields[5])))
    return found
