"""RAPL energy counters of x86 CPUs through Linux powercap.

Source: Documentation/power/powercap/powercap.rst of the Linux kernel; ``energy_uj`` counts µJ and
wraps at ``max_energy_range_uj``. Since CVE-2020-8694 the counter is readable by root only.
"""

__all__ = ["Rapl", "open_rapl", "package_zones", "power_limit_w"]

from dataclasses import dataclass
from pathlib import Path

from alignmeter.telemetry.kernel_files import KeptOpen, numbers, text


@dataclass(kw_only=True, slots=True)
class _Package:
    """One socket's counter, unwrapped."""

    counter: KeptOpen
    wraps_at_uj: int
    last_uj: int
    turns: int = 0

    def read_uj(self) -> int:
        now = int(self.counter.read())
        if now < self.last_uj:
            self.turns += 1
        self.last_uj = now
        return self.turns * self.wraps_at_uj + now


class Rapl:
    """The sum of all CPU packages. Two readings must be closer than one wrap: hours at 100 W.

    The counter is updated about every 1 ms (Intel SDM vol. 3B, section 16.10).
    """

    def __init__(self, packages: list[_Package]) -> None:
        self._packages = packages

    def read_j(self) -> float:
        """Energy of all packages since the counters' start, in J. Raises `OSError`."""
        return sum(package.read_uj() for package in self._packages) / 1e6


def open_rapl(powercap: Path) -> Rapl | str:
    """The packages below ``powercap``, or the sentence that says what is in the way."""
    zones = package_zones(powercap)
    if not zones:
        return f"no RAPL package below {powercap}: usual on virtual machines"
    try:
        return Rapl([_open(zone) for zone in zones])
    except PermissionError as error:
        return f"{error.filename} is readable by root only: run as root, or let an admin chmod it"
    except (OSError, ValueError) as error:
        return f"RAPL cannot be read: {error}"


def package_zones(powercap: Path) -> list[Path]:
    """The zones of whole CPU packages: not their cores, not the platform (``psys``)."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    return [zone for zone in zones if text(zone / "name").startswith("package")]


def power_limit_w(powercap: Path) -> float | None:
    """The largest power limit of each package, summed, in W; ``None`` where a package has none."""
    largest = [_largest_limit_uw(zone) for zone in package_zones(powercap)]
    if not largest or 0 in largest:
        return None
    return sum(largest) / 1e6


def _largest_limit_uw(zone: Path) -> int:
    """0 without one: a constraint that the platform does not have answers with ENODATA."""
    return max(numbers(zone.glob("constraint_*_power_limit_uw")), default=0)


def _open(zone: Path) -> _Package:
    return _Package(
        counter=KeptOpen(zone / "energy_uj"),
        wraps_at_uj=int((zone / "max_energy_range_uj").read_text()),
        last_uj=int((zone / "energy_uj").read_text()),
    )
