"""A ROCm without hardware: `build_amd` makes its folder, and here are devices to put into it.

``ROCM_PATH`` names the folder to AMD's own Python package, which then loads our library from it.
"""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from amd_layouts import LIBRARY_27, VERSION_27, as_27
from stub_libraries import NO_COMPILER, SOURCES, Clock, Scenario, build_library, compiler

from alignmeter.telemetry.amd.smi import open_amd
from alignmeter.telemetry.base import Telemetry

_SPEC = importlib.util.find_spec("amdsmi")
PACKAGE = None if _SPEC is None or _SPEC.origin is None else Path(_SPEC.origin).parent
"""Where the package of the interpreter is; asking for it imports nothing."""

MI210: dict[str, object] = {
    "name": "AMD Instinct MI210",
    "bdf": "0000:43:00.0",
    "device_id": "0x740f",
    "memory_bytes": 68_702_699_520,
    "power_cap_w": 300,
    "clock_mhz": 1700,
    "memory_clock_mhz": 1600,
    "power": "average",
    "throttle": "bits",
    "error_partition": 2,
}
_DIE: dict[str, object] = MI210 | {
    "name": "AMD Instinct MI250X / MI250",
    "device_id": "0x740c",
    "power_cap_w": 560,
}
MI250: list[dict[str, object]] = [
    _DIE | {"bdf": "0000:c1:00.0"},
    _DIE | {"bdf": "0000:c6:00.0", "power": "zero", "energy": "zero", "power_cap_w": 0},
]
"""Two dies; the kernel gives the second one's power, counter and cap as 0 (aldebaran_ppt.c)."""

MI300X: dict[str, object] = {
    "name": "AMD Instinct MI300X",
    "bdf": "0000:0c:00.0",
    "device_id": "0x74a1",
    "oam_id": 2,
    "memory_bytes": 206_141_652_992,
    "power_cap_w": 750,
    "clock_mhz": 2100,
    "memory_clock_mhz": 1300,
}
MI300X_CPX: list[dict[str, object]] = [
    MI300X
    | {
        "bdf": f"0000:0c:00.{part}",
        "hip_uuid": "GPU-57c3a1b2d4e5f607",
        "memory_bytes": 51_535_413_248,
        "partition": "CPX",
        "memory_partition": "NPS4",
        "socket": 0,
        "meter": 0,
    }
    for part in range(8)
]
"""Eight partitions of one socket, each of which repeats its power and energy."""

MI355X: dict[str, object] = MI300X | {
    "name": "AMD Instinct MI355X",
    "bdf": "0000:75:00.0",
    "device_id": "0x75a3",
    "memory_bytes": 309_220_868_096,
    "power_cap_w": 1400,
    "clock_mhz": 2400,
    "memory_clock_mhz": 1900,
}


def why_not() -> str | None:
    """Why AMD's package cannot be tested here; ``None`` if it can."""
    if compiler() is None:
        return NO_COMPILER
    if PACKAGE is None:
        return "the package amdsmi is absent: pip install 'amdsmi==7.0.*'"
    if not package_version().startswith("7.0."):
        return f"the stub is laid out for amdsmi 7.0, not {package_version()}"
    return None


def package_version() -> str:
    """As the package states it."""
    assert PACKAGE is not None
    found = re.search(r'"(.+)"', (PACKAGE / "_version.py").read_text())
    assert found is not None
    return str(found[1])


def build_amd(folder: Path, rocm: str = "7.0.2") -> Path:
    """A ROCm of that version in ``folder``, to be named by ``ROCM_PATH``. It has no binding."""
    _build(folder / "lib" / "libamd_smi.so", smi=26)
    (folder / ".info").mkdir(exist_ok=True)
    (folder / ".info" / "version").write_text(f"{rocm}\n")
    return folder


def build_wheel(site_packages: Path) -> Path:
    """TheRock's package with AMD SMI 27, as pip lays it out there: no link, no .info."""
    package = site_packages / "_rocm_sdk_core"
    _build(package / "lib" / LIBRARY_27, smi=27)
    (package / "__init__.py").touch()
    as_27(ship_binding(package, VERSION_27))
    return package


def _build(library: Path, smi: int) -> None:
    """The stub in the layout of that AMD SMI, with all that the package binds."""
    assert PACKAGE is not None
    wanted = set(
        re.findall(
            r"_libraries\['libamd_smi\.so'\]\.(\w+)", (PACKAGE / "amdsmi_wrapper.py").read_text()
        )
    )
    source = SOURCES / "amdsmi.c"
    ours = set(re.findall(r"^EXPORT .*?(amdsmi_\w+)\(", source.read_text(), re.MULTILINE))
    assert ours <= wanted, f"the package does not bind {sorted(ours - wanted)}"
    library.parent.mkdir(parents=True, exist_ok=True)
    rest = library.parent / "rest.c"
    export = '__attribute__((visibility("default")))'
    rest.write_text("".join(f"{export} int {n}(void) {{ return 2; }}\n" for n in wanted - ours))
    build_library(library, source, rest, define=f"SMI={smi}")


def ship_binding(folder: Path, version: str) -> Path:
    """A copy of the package where a ROCm ships its own, stating that version."""
    assert PACKAGE is not None
    package = folder / "share" / "amd_smi" / "amdsmi"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "_version.py").write_text(f'__version__ = "{version}"\n')
    return package


def forget_amdsmi() -> None:
    """As if nobody had imported it; the next import may find another library."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "amdsmi"]:
        del sys.modules[name]


class AmdMachine:
    """A context in which this process finds those devices; `clock` is their time.

    ``monkeypatch`` is pytest's: the variables are its. The package is forgotten at both ends.
    """

    def __init__(self, rocm, folder, monkeypatch):
        self.scenario = folder / "scenario"
        self.clock = Clock(folder / "clock")
        self.opened: list[Telemetry] = []
        monkeypatch.delenv("ROCM_HOME", raising=False)
        monkeypatch.setenv("ROCM_PATH", str(rocm))
        monkeypatch.setenv("STUB_SCENARIO", str(self.scenario))
        monkeypatch.setenv("STUB_CLOCK", str(self.clock.path))

    def describe(self, *devices, library=None, traces=None):
        """What whoever opens the library next will find."""
        Scenario(list(devices), library or {}, traces or {}).write(self.scenario)

    def open(self, *devices, library=None, traces=None, pid=None):
        """Their telemetry, for this process or ``pid``."""
        self.describe(*devices, library=library, traces=traces)
        self.opened.append(open_amd(os.getpid() if pid is None else pid))
        return self.opened[-1]

    def __enter__(self):
        forget_amdsmi()
        return self

    def __exit__(self, *_):
        for telemetry in self.opened:
            telemetry.close()
        forget_amdsmi()
