"""RAPL energy counters of x86 CPUs through Linux powercap.

Source: Documentation/power/powercap/powercap.rst of the Linux kernel; ``energy_uj`` counts µJ and
wraps at ``max_energy_range_uj``. Since CVE-2020-8694 the counter is readable by root only.
"""

__all__ = ["Rapl", "open_rapl"]

from dataclasses import dataclass, field
from pathlib import Path

from alignmeter.telemetry.base import EnergyCounter, NoCounter

POWERCAP = Path("/sys/class/powercap")


@dataclass(kw_only=True, slots=True)
class _Package:
    """One socket's counter, unwrapped."""

    file: Path
    wraps_at_uj: int
    last_uj: int
    turns: int = 0

    def read_uj(self) -> int:
        now = int(self.file.read_text())
        if now < self.last_uj:
            self.turns += 1
        self.last_uj = now
        return self.turns * self.wraps_at_uj + now


@dataclass(kw_only=True, slots=True)
class Rapl:
    """The sum of all CPU packages. A window must be shorter than one wrap (hours at 100 W)."""

    packages: list[_Package]
    scope: str = field(default="socket", init=False)
    tick_s: float = field(default=0.001, init=False)
    """Intel SDM vol. 3B, 16.10: the counter is updated about every 1 ms."""

    def missing(self) -> str | None:
        """``None``: it was read when it was opened."""
        return None

    def read_j(self) -> float:
        """Energy of all packages since the counters' start, in J. Raises `OSError`."""
        return sum(package.read_uj() for package in self.packages) / 1e6


def open_rapl(powercap: Path | None = None) -> EnergyCounter:
    """The host's packages, or the null counter that says what is in the way.

    ``powercap`` is the folder to look in, the kernel's own by default.
    """
    powercap = powercap or POWERCAP
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
    if not zones:
        return NoCounter(f"no RAPL package below {powercap}: usual on virtual machines")
    try:
        return Rapl(packages=[_open(zone) for zone in zones])
    except PermissionError as error:
        return NoCounter(f"{error.filename} is readable by root only")


def _open(zone: Path) -> _Package:
    file = zone / "energy_uj"
    return _Package(
        file=file,
        wraps_at_uj=int((zone / "max_energy_range_uj").read_text()),
        last_uj=int(file.read_text()),
    )
