"""Intel's discrete GPUs through the files of their Linux drivers, ``xe`` and ``i915``.

Sources: Documentation/ABI/testing/sysfs-driver-intel-xe-hwmon and -i915-hwmon (µJ, µW, m°C),
Documentation/gpu/drm-usage-stats.rst, and the comments of xe_gt_freq.c, xe_gt_throttle.c and
intel_gt_sysfs_pm.c in the Linux kernel.
"""

__all__ = ["IntelTelemetry", "open_intel"]

import platform
import re
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alignmeter.telemetry.base import (
    Capabilities,
    Identity,
    NoTelemetry,
    Probe,
    Sample,
    Telemetry,
    checked_sample,
)
from alignmeter.telemetry.kernel_files import number, numbers, text

_ROOT = Path("/")
_INTEGRATED = "0000:00:02.0"
"""Where every integrated GPU of Intel is."""
_DRIVERS = ("xe", "i915")
_CAPS = ("power1_max", "power1_rated_max", "power1_cap",
         "power2_max", "power2_rated_max", "power2_cap")  # fmt: skip
"""Card first (1), then package (2); limit in force, default, burst. 0 is a limit switched off."""
_ENERGIES = ("energy1_input", "energy2_input")
"""The whole card, else its package: which of them there is depends on the product."""
_TEMPERATURES = ("temp2_input", "temp1_input")
"""The package's: ``xe`` has it in 2, ``i915`` in 1."""
_THROTTLES = {
    **dict.fromkeys(("pl1", "pl2", "psys_pl1", "psys_pl2"), "power_cap"),
    **dict.fromkeys(("thermal", "soc_thermal", "mem_thermal", "soc_avg_thermal"), "thermal"),
    **dict.fromkeys(("vr_thermal", "vr_thermalert", "ratl"), "thermal"),
    **dict.fromkeys(("pl4", "iccmax", "vr_tdc"), "current_limit"),
    **dict.fromkeys(("prochot", "fastvmode", "psys_crit"), "hardware"),
    "p0_freq": "clock_setting",
}
"""What a file's name has after ``reason_`` -> our word. RATL: running average thermal limit."""
_REGION = re.compile(r"drm-(resident|total)-(?:vram|local)\d+")
"""``xe`` calls a card's memory vram, ``i915`` local."""
_AMOUNT = re.compile(r"(\d+)(?: (KiB|MiB))?")
_UNITS = {None: 1, "KiB": 2**10, "MiB": 2**20}
_WHEN = "it depends on the product and the kernel; i915 has sensors since Linux 6.2, xe since 6.5"
_MISSING = {
    "device_s": "the energy counter has no clock of its own",
    "power_w": "hwmon tells energy and not power",
    "memory_used_bytes": "sysfs has no figure for used VRAM; the worker asks torch.xpu",
    "memory_clock_mhz": "sysfs has no clock of the memory",
    "ecc_errors": "sysfs has no counter; Level Zero Sysman has",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Card:
    """Folders of one GPU: its DRM card, its PCI device and its sensors. ``driver``: its name."""

    card: Path
    device: Path
    driver: str
    hwmon: Path | None

    def sensor(self, names: Iterable[str]) -> Path | None:
        """The first of these files of its sensors that has a number."""
        files = () if self.hwmon is None else (self.hwmon / name for name in names)
        return next((file for file in files if number(file) is not None), None)

    def power_cap_w(self) -> float | None:
        """The first limit that is in force."""
        limits = [] if self.hwmon is None else numbers(self.hwmon / name for name in _CAPS)
        return next((limit / 1e6 for limit in limits if limit > 0), None)

    def units(self) -> list[Path]:
        """Folders of the compute units (GT), one for each tile.

        ``xe`` numbers them across tiles and puts a media unit after the first; ``i915`` has none
        on discrete GPUs.
        """
        if self.driver == "i915":
            return _numbered(self.card / "gt", "gt")
        units = [_numbered(tile, "gt") for tile in _numbered(self.device, "tile")]
        return [found[0] for found in units if found]

    def clocks(self, name: str) -> list[int]:
        """In MHz. ``name``: ``act`` or ``RP0``."""
        if self.driver == "i915":
            return numbers(unit / f"rps_{name}_freq_mhz" for unit in self.units())
        return numbers(unit / "freq0" / f"{name.lower()}_freq" for unit in self.units())

    def memory_bytes(self) -> int | None:
        """Physical VRAM. i915 has it where the driver is Intel's and not the kernel's own."""
        tiles = _numbered(self.device, "tile")
        files = [
            *(tile / "physical_vram_size_bytes" for tile in tiles),
            self.card / "lmem_total_bytes",
        ]
        return sum(numbers(files)) or None

    def throttles(self) -> tuple[str, ...] | None:
        """Our words for the reasons that are set now; ``None`` if the driver has none."""
        pattern = "throttle_reason_*" if self.driver == "i915" else "freq0/throttle/reason_*"
        files = [file for unit in self.units() for file in unit.glob(pattern)]
        if not files:
            return None
        names = {file.name.rpartition("reason_")[2] for file in files if number(file)}
        return tuple(sorted({_THROTTLES.get(name, "other") for name in names - {"status"}}))


class IntelTelemetry:
    """Every discrete GPU of Intel that is bound to one of its drivers, by its PCI bus id."""

    def __init__(self, pid: int, root: Path = _ROOT) -> None:
        """``pid``: whose VRAM is read. ``root``: where ``proc`` and ``sys`` are."""
        self._process = root / "proc" / str(pid)
        self._cards = dict(_cards(root / "sys" / "class" / "drm"))
        self._sensors = {
            key: (card.sensor(_ENERGIES), card.sensor(_TEMPERATURES))
            for key, card in self._cards.items()
        }

    def probe(self) -> Probe:
        """Available with one GPU or more."""
        drivers = " and ".join(sorted({card.driver for card in self._cards.values()}))
        if not drivers:
            return Probe(available=False, reason="no discrete Intel GPU")
        return Probe(available=True, library=f"Linux {platform.release()}, {drivers}")

    def devices(self) -> list[str]:
        """PCI bus ids."""
        return list(self._cards)

    def identity(self, device: str) -> Identity:
        """Who that device is; sysfs has no product name. Raises `KeyError`."""
        card = self._cards[device]
        largest = card.clocks("RP0")
        product = text(card.device / "device").removeprefix("0x")
        return Identity(
            name=f"Intel GPU 8086:{product}",
            pci_bus_id=device,
            driver=f"{card.driver}, Linux {platform.release()}",
            memory_bytes=card.memory_bytes(),
            power_cap_w=card.power_cap_w(),
            clocks_mhz={"compute": float(max(largest))} if largest else {},
        )

    def capabilities(self, device: str) -> Capabilities:
        """What one reading had, and why it lacked the rest. Raises `KeyError`."""
        sample = self.read(device)
        scope = "module" if len(self._cards[device].units()) > 1 else "gpu"
        return Capabilities(
            energy_scope=None if sample.energy_j is None else scope, missing=sample.missing
        )

    def read(self, device: str) -> Sample:
        """Its figures now; the clock is the mean of its tiles. Raises `KeyError`."""
        card = self._cards[device]
        energy, temperature = self._sensors[device]
        now = time.monotonic()
        clocks = card.clocks("act")
        throttles = card.throttles()
        values = {
            "energy_j": _scaled(energy, 1e6),
            "clock_mhz": statistics.fmean(clocks) if clocks else None,
            "temperature_c": _scaled(temperature, 1e3),
        }
        missing = dict(_MISSING)
        for figure, value in {**values, "throttles": throttles}.items():
            if value is None:
                missing[figure] = f"{card.driver} has no file for it here: {_WHEN}"
        held = _vram_bytes(self._process, device, missing)
        values["memory_process_bytes"] = held
        return checked_sample(now, values, missing, throttles=throttles)

    def close(self) -> None:
        """Nothing is open."""


def open_intel(pid: int, root: Path = _ROOT) -> Telemetry:
    """The telemetry of this host's discrete Intel GPUs, or the null object that says what lacks.

    ``pid`` is whose VRAM counts; ``root`` is the folder with ``proc`` and ``sys``.
    """
    telemetry = IntelTelemetry(pid, root)
    if telemetry.devices():
        return telemetry
    drm = root / "sys" / "class" / "drm"
    if any(text(card / "device" / "vendor") == "0x8086" for card in drm.glob("card*")):
        return NoTelemetry(
            "the Intel GPUs here are integrated, or bound to neither xe nor i915",
            "a discrete GPU is needed; lspci -k names the driver of each",
        )
    return NoTelemetry(f"no Intel GPU below {drm}", "load the driver: modprobe xe, or i915")


def _cards(drm: Path) -> Iterable[tuple[str, _Card]]:
    for card in _numbered(drm, "card"):
        device = (card / "device").resolve()
        driver = (device / "driver").resolve().name
        if text(device / "vendor") != "0x8086" or driver not in _DRIVERS:
            continue
        # i915 has more of them, one a unit (i915_gt0); the device's own has the driver's name.
        chips = [c for c in sorted(device.glob("hwmon/hwmon*")) if text(c / "name") == driver]
        hwmon = chips[0] if chips else None
        found = _Card(card=card, device=device, driver=driver, hwmon=hwmon)
        if device.name != _INTEGRATED or found.memory_bytes() is not None:
            yield device.name, found


def _numbered(folder: Path, stem: str) -> list[Path]:
    """``gt0``, ``gt1``, … ``gt10`` in this order, without ``gt0-foo``."""
    found = [path for path in folder.glob(f"{stem}*") if path.name.removeprefix(stem).isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(stem)))


def _scaled(file: Path | None, divisor: float) -> float | None:
    value = None if file is None else number(file)
    return None if value is None else value / divisor


def _vram_bytes(process: Path, device: str, missing: dict[str, str]) -> int | None:
    """What a process holds on that device: the sum of its clients there, each counted once.

    Resident memory where the kernel tells it: what is allocated and not touched takes no VRAM.
    """
    clients: dict[str, int] = {}
    try:
        opened = [handle for handle in (process / "fd").iterdir() if _is_gpu(handle)]
    except OSError as error:
        missing["memory_process_bytes"] = f"{process / 'fd'} cannot be read: {error.strerror}"
        return None
    for handle in opened:
        fields = _fields(text(process / "fdinfo" / handle.name))
        if fields.get("drm-pdev") != device:
            continue
        amounts: dict[str, int] = {}
        for name, value in fields.items():
            if (region := _REGION.fullmatch(name)) and (amount := _AMOUNT.fullmatch(value)):
                size = int(amount[1]) * _UNITS[amount[2]]
                amounts[region[1]] = amounts.get(region[1], 0) + size
        if not amounts:
            missing["memory_process_bytes"] = "this kernel's fdinfo does not tell a process's VRAM"
            return None
        client = fields.get("drm-client-id", handle.name)
        clients[client] = amounts.get("resident", amounts.get("total", 0))
    return sum(clients.values())


def _fields(fdinfo: str) -> dict[str, str]:
    parts = (line.partition(":") for line in fdinfo.splitlines())
    return {name.strip(): value.strip() for name, _, value in parts}


def _is_gpu(handle: Path) -> bool:
    try:
        return handle.readlink().is_relative_to("/dev/dri")
    except OSError:
        return False  # closed meanwhile
