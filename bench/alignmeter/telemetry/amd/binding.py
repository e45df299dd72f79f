"""AMD SMI's Python binding: which copy is loaded, whether it fits the library, and how it is asked.

``import amdsmi`` without ROCm prints and raises `KeyError`; with an older library it raises
`AttributeError` (amdsmi_wrapper.py binds 184 symbols). So nothing is imported on a machine without
ROCm and AMD GPU, and whatever an import raises becomes a reason.
"""

__all__ = ["Binding", "Refused", "ask", "load_binding", "refused"]

import importlib.util
import io
import os
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from alignmeter.telemetry.base import NoTelemetry

KFD = Path("/dev/kfd")
"""The compute driver's device: amdgpu is loaded and has a GPU."""
OPT = Path("/opt")

STATUSES: dict[int, tuple[str, str | None]] = {
    1: ("invalid argument", None),
    2: ("not supported by this device or driver", None),
    3: ("not yet implemented by the library", None),
    4: ("a library could not be loaded", "install libdrm and libdrm_amdgpu"),
    6: ("libdrm reports an error", None),
    8: ("timed out", None),
    9: ("the driver asks to try again", None),
    10: ("no permission", "add the user to the groups render and video"),
    12: ("input/output error", None),
    14: ("a file of the driver cannot be read: is the device gone?", None),
    15: ("out of resources", None),
    18: ("initialization failed", "see `amd-smi list` for what fails"),
    20: ("a folder of the driver is missing", None),
    30: ("the device is busy", None),
    31: ("no such device", None),
    32: ("the library is not initialized", None),
    34: ("the driver amdgpu is not loaded", "load it: modprobe amdgpu"),
    40: ("no data", None),
    43: ("the driver's data has an unknown form", "let the driver and ROCm be of one release"),
    52: ("a file of the driver is missing", None),
    4294967294: ("an error of the driver without a status of its own", None),
    4294967295: ("unknown error", None),
}
"""Status -> what it means, and what would help if something would. Source: amdsmi_status_t."""
NEVER_ANSWERED = (2, 3)
"""Such a figure does not come later either: it is not asked again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """The loaded module, and the ROCm that it belongs to, e.g. ``7.0.2``, where that is known."""

    smi: Any
    rocm: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that was not given. ``forever``: the device has no such thing."""

    words: str
    forever: bool = False
    remedy: str | None = None


def refused(function: str, status: int) -> Refused:
    """What a status other than success means."""
    words, remedy = STATUSES.get(status, (f"status {status}", None))
    return Refused(f"{function}: {words}", status in NEVER_ANSWERED, remedy)


def ask(smi: Any, function: str, *arguments: Any) -> Any:
    """What that function of the binding answers, or `Refused`: it never raises."""
    call = getattr(smi, function, None)
    if call is None:
        return Refused(f"this amdsmi has no {function}", forever=True)
    try:
        return call(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever the binding raises is a reason, not a crash
        status = getattr(error, "err_code", None)
        if not isinstance(status, int):
            return Refused(f"{function}: {type(error).__name__}: {error}")
        return refused(function, status)


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
            "pip install the release that fits ROCm: pip install 'amdsmi==7.0.*' for ROCm 7.0",
        )
    remedies = [reason.remedy for reason in reasons if reason.remedy]
    return NoTelemetry("; ".join(r.words for r in reasons), (*remedies, _HOW_TO_INSTALL)[0])


_HOW_TO_INSTALL = "install ROCm's AMD SMI (package amd-smi-lib), or set ROCM_PATH to where ROCm is"


def _rocm_roots() -> list[Path]:
    """Where ROCm may be, in the order of the binding's own search (amdsmi_wrapper.py)."""
    named = [os.environ[name] for name in ("ROCM_HOME", "ROCM_PATH") if os.environ.get(name)]
    # TheRock's packages live one folder deeper: docs/packaging.md of AMD SMI 27.
    usual = [OPT / "rocm", OPT / "rocm" / "core", *sorted(OPT.glob("rocm-*"), reverse=True)]
    return [Path(name) for name in named] + usual


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
        library = _library(None)  # an older one lacks symbols: say which two do not fit
        return (library and _misfit(package, library)) or module
    library = _library(module)
    if library is None:
        return Refused(f"{package} was imported without a libamd_smi.so")
    misfit = _misfit(package, library)
    if misfit and ours:
        _forget()
    return misfit or Binding(smi=module, rocm=_rocm_version(library))


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


def _library(module: ModuleType | None) -> Path | None:
    """The library that the binding has loaded, from its own record or the process's memory map."""
    handles = getattr(getattr(module, "amdsmi_wrapper", None), "_libraries", {})
    names = [str(getattr(handle, "_name", "")) for handle in handles.values()]
    for name in names:
        if Path(name).is_absolute():
            return Path(name).resolve()
    for line in Path("/proc/self/maps").read_text().splitlines():  # Linux, as all of ROCm
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libamd_smi"):
            return path
    return None


def _misfit(package: Path, library: Path) -> Refused | None:
    """Why that copy must not be used with that library, if so.

    A struct of another release is read at wrong offsets or overrun: a 6.3 binding lets a 7.0
    library write 192 bytes into 68. Releases are compared by major.minor. PyPI's copies carry
    ROCm's number, ROCm's own the library's (py-interface/_version.py.in), so either may agree.
    """
    text = package / "_version.py"
    stated = re.search(r'__version__ = "([^"]+)"', text.read_text() if text.exists() else "")
    version = stated[1] if stated else "of unknown version"
    root = library.parent.parent
    if library.is_relative_to(package) or package.resolve().is_relative_to(root / "share"):
        return None  # shipped together
    number = re.search(r"\.so\.(\d+\.\d+\S*)", library.name)
    known = {"ROCm": _rocm_version(library), "AMD SMI": number[1] if number else None}
    here = [f"{name} {value}" for name, value in known.items() if value]
    if not here:
        return Refused(
            f"amdsmi {version} cannot be checked against {library}: no version beside it",
            remedy=f"set ROCM_PATH to a ROCm that has .info/version, or use {root}/share/amd_smi",
        )
    if _major_minor(version) in {_major_minor(value) for value in known.values() if value}:
        return None
    wanted = _major_minor(known["ROCm"] or "") or "<that of ROCm>"
    return Refused(
        f"amdsmi {version} does not fit {' / '.join(here)} ({library}): it would misread structs",
        remedy=f"pip install 'amdsmi=={wanted}.*', or remove it where ROCm ships its own binding",
    )


def _rocm_version(library: Path) -> str | None:
    """The ROCm that a library belongs to, from rocm-core's file beside it."""
    file = library.parent.parent / ".info" / "version"
    return file.read_text().strip() if file.exists() else None


def _major_minor(version: str) -> str:
    found = re.match(r"\d+\.\d+", version)
    return found[0] if found else ""
