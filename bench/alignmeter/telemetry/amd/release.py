"""Whether a copy of AMD SMI's binding and a library are of one release."""

__all__ = ["misfit", "rocm_version"]

import re
from pathlib import Path
from types import ModuleType

from alignmeter.telemetry.amd.answers import Refused, ask

_FIRST_OWN_MAJOR = 20
"""AMD SMI's own numbers began at 23; ROCm's are at 10."""
_NO_PATCH = 99999
"""What the library's name ends with where its builder named no ROCm (amdsmi's CMakeLists.txt)."""


def misfit(package: Path, library: Path, module: ModuleType | None) -> Refused | None:
    """Why that copy must not be used with that library, if so.

    A struct of another release is read at wrong offsets or overrun: a 6.3 binding lets a 7.0
    library write 192 bytes into 68, and 27 moved the throttle bits by 8 bytes. Releases are
    compared by major.minor, since a minor one may lengthen structs too (27.1 amdsmi_enumeration_
    info_t). PyPI's copies carry ROCm's number (7.0.2), ROCm's own the library's (26.0.2, 27.0.0:
    py-interface/_version.py.in), and each is held against its like.

    ``module``: the copy, where it could be imported. What could not has reasons of its own, and is
    a misfit only if both numbers are known.
    """
    root, home = library.parent.parent, package.resolve()
    if library.is_relative_to(home) or home.is_relative_to(root / "share"):
        return None  # shipped together
    version = _stated(package) or "of unknown version"
    known = {"ROCm": rocm_version(library), "AMD SMI": _own_number(library, module)}
    own = version[0].isdigit() and int(version.partition(".")[0]) >= _FIRST_OWN_MAJOR
    like = known["AMD SMI" if own else "ROCm"]
    if like is None and module is None:
        return None
    if like is None:
        return Refused(
            f"amdsmi {version} cannot be checked against {library}: no version beside it",
            remedy=f"set ROCM_PATH to a ROCm that has .info/version, or use {root}/share/amd_smi",
        )
    if _major_minor(version) == _major_minor(like):
        return None
    here = " / ".join(f"{name} {value}" for name, value in known.items() if value)
    wanted = _major_minor(known["ROCm"] or "") or "<that of ROCm>"
    return Refused(
        f"amdsmi {version} does not fit {here} ({library}): it would misread structs",
        remedy=f"remove it where ROCm ships its own binding (share/amd_smi), or else pip install "
        f"'amdsmi=={wanted}.*'",
    )


def rocm_version(library: Path) -> str | None:
    """The ROCm that a library belongs to: rocm-core's file beside it, or the end of its name.

    libamd_smi.so.25.5.60401 is of ROCm 6.4.1.
    """
    file = library.parent.parent / ".info" / "version"
    if file.exists():
        return file.read_text().strip()
    patch = re.search(r"\.so\.\d+\.\d+\.(\d{5,6})$", library.name)
    number = int(patch[1]) if patch else _NO_PATCH
    if number == _NO_PATCH:
        return None
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _stated(package: Path) -> str | None:
    file = package / "_version.py"
    found = re.search(r'__version__ = "(\d[^"]*)"', file.read_text() if file.exists() else "")
    return found[1] if found else None


def _own_number(library: Path, module: ModuleType | None) -> str | None:
    """The library's own, from its name or its mouth: in wheels it is libamd_smi.so.27 only."""
    named = re.search(r"\.so\.(\d+\.\d+\S*)", library.name)
    if named or module is None:
        return named[1] if named else None
    told = ask(module, "amdsmi_get_lib_version")
    return None if isinstance(told, Refused) else "{major}.{minor}.{release}".format(**told)


def _major_minor(version: str) -> str:
    found = re.match(r"\d+\.\d+", version)
    return found[0] if found else ""
