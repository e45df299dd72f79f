"""Who the devices of AMD SMI are, and which of them share a sensor.

A die of an MI250 and a partition of an MI300 are devices of their own to HIP and to AMD SMI, while
power and energy are their module's. Sources: docs/conceptual/partition.md of AMD SMI;
aldebaran_ppt.c of the kernel ("valid power data is available only from primary die").
"""

__all__ = ["Place", "ask_who", "device_keys", "hip_ranks", "places"]

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignmeter.telemetry.amd.answers import Refused, ask
from alignmeter.telemetry.base import Identity

FORM_FACTORS = {
    "MI210": "PCIe",
    "MI250": "OAM",  # and MI250X
    "MI300A": "APU",
    "MI300X": "OAM",
    "MI308X": "OAM",
    "MI325X": "OAM",
    "MI350X": "OAM",
    "MI355X": "OAM",
}
"""Part of the name -> form factor, from AMD's data sheets. AMD SMI's ``oam_id`` does not tell: it
is the XGMI id, which cards with a bridge have too.
"""
_TWO_DIES = ("0x7408", "0x740c")
"""PCI device ids of MI250X and MI250 (amdgpu_drv.c): the name may be missing."""
_PARTS = ("DPX", "TPX", "QPX", "CPX")
"""Compute modes in which a device is but a part of its socket."""
_NO_UUID = "GPU-" + "0" * 16


@dataclass(kw_only=True, slots=True)
class Place:
    """Where a device stands among the others.

    ``hip``: its rank in HIP's order, or the KFD node, which ranks alike; ``None`` if neither is
    known. ``scope``: what its power and energy are of. ``group``: the bus id of the device that
    has the sensor. ``second``: it has none, as its group's first die reports for both.
    """

    identity: Identity
    hip: int | None
    node: int | None
    scope: str = "gpu"
    group: str | None = None
    second: bool = False


def ask_who(smi: Any, handle: Any) -> Place:
    """One device, as far as the library tells; what it does not tell is ``None``."""
    enumeration = _given(ask(smi, "amdsmi_get_gpu_enumeration_info", handle), {})  # from ROCm 6.4
    kfd = _given(ask(smi, "amdsmi_get_gpu_kfd_info", handle), {})
    asic = _given(ask(smi, "amdsmi_get_gpu_asic_info", handle), {})
    driver = _given(ask(smi, "amdsmi_get_gpu_driver_info", handle), {}).get("driver_version")
    bus = _given(ask(smi, "amdsmi_get_gpu_device_bdf", handle), None)
    total = ask(smi, "amdsmi_get_gpu_memory_total", handle, smi.AmdSmiMemoryType.VRAM)
    name = _told(asic.get("market_name")) or f"AMD GPU {_told(asic.get('device_id')) or ''}".strip()
    identity = Identity(
        name=name,
        uuid=_uuid(enumeration.get("hip_uuid")),
        pci_bus_id=bus.lower() if bus else None,
        driver=_told(driver),
        memory_bytes=_given(total, None),
        form_factor=_form_factor(name),
        power_cap_w=_power_cap_w(smi, handle),
        partition=_partition(smi, handle),
        clocks_mhz=_most_mhz(smi, handle),
    )
    hip, node = _number(enumeration, "hip_id"), _number(kfd, "node_id")
    place = Place(identity=identity, hip=hip, node=node)
    if "MI250" in name or asic.get("device_id") in _TWO_DIES or "MI300A" in name:
        place.scope = "module"
    if (identity.partition or "").startswith(_PARTS):
        place.scope = "socket"
    return place


def places(found: Sequence[Place], watts: Sequence[float | None]) -> None:
    """Complete each place by what only the others tell. ``watts``: what each one's sensor says.

    AMD SMI orders by bus id, in which the dies of one MI250 follow each other; the second says 0 W
    (ml-energy/zeus#203, mlco2/codecarbon#1097) or nothing.
    """
    first = None
    for place, power_w in zip(found, watts, strict=True):
        bus = place.identity.pci_bus_id
        place.group = bus
        if place.scope == "socket" and bus:
            place.group = f"{bus[:-1]}0"  # the function numbers the partitions
        if place.scope != "module" or place.identity.form_factor == "APU":
            continue
        if power_w:
            first = bus
        elif first:
            place.group, place.second, first = first, True, None


def device_keys(found: Sequence[Place]) -> list[str]:
    """HIP's unique id, else the bus id: partitions of one socket may have one unique id."""
    names = [place.identity.uuid or "" for place in found]
    shared = Counter(names)
    keys = [
        uuid if uuid and shared[uuid] == 1 else (place.identity.pci_bus_id or "AMD GPU")
        for uuid, place in zip(names, found, strict=True)
    ]
    seen = Counter(keys)
    return [key if seen[key] == 1 else f"{key}#{i}" for i, key in enumerate(keys)]


def hip_ranks(found: Mapping[str, Place]) -> dict[str, int]:
    """Key -> HIP's own index, before any visible-devices mask; empty if it cannot be known.

    AMD SMI orders by bus id, HIP by node of the compute driver; on some hosts they differ
    (``hip_id`` is the node less the least one: amdsmi_get_gpu_enumeration_info in amd_smi.cc).
    """
    for numbers in (
        [place.hip for place in found.values()],
        [place.node for place in found.values()],
    ):
        known = [number for number in numbers if number is not None]
        if len(set(known)) == len(found):
            ordered = [key for _, key in sorted(zip(known, found, strict=True))]
            return {key: rank for rank, key in enumerate(ordered)}
    return dict.fromkeys(found, 0) if len(found) == 1 else {}


def _given(answer: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(answer, Refused) else answer


def _told(text: Any) -> str | None:
    return text if isinstance(text, str) and text not in {"", "N/A"} else None


def _number(answer: dict[str, Any], key: str) -> int | None:
    value = answer.get(key)
    return value if isinstance(value, int) else None


def _uuid(text: Any) -> str | None:
    """As rocminfo spells it. ROCm 6.4.0 took the serial number, with ``0x`` and capitals."""
    found = re.fullmatch(r"GPU-(?:0x)?([0-9a-fA-F]{1,16})", text) if isinstance(text, str) else None
    uuid = f"GPU-{int(found[1], 16):016x}" if found else None
    return None if uuid == _NO_UUID else uuid


def _form_factor(name: str) -> str | None:
    found = [form for part, form in FORM_FACTORS.items() if part in name]
    return found[0] if found else None


def _power_cap_w(smi: Any, handle: Any) -> float | None:
    """In µW since ROCm 6.1.2 (AMD SMI's changelog). The second die of an MI250 says 0."""
    cap = _number(_given(ask(smi, "amdsmi_get_power_cap_info", handle), {}), "power_cap")
    return cap / 1e6 if cap and cap > 1e6 else None


def _partition(smi: Any, handle: Any) -> str | None:
    """Compute and memory mode.

    The compute mode's old name, ``compute_partition``, is to be removed (AMD SMI 27's changelog).
    """
    found = ask(smi, "amdsmi_get_gpu_accelerator_partition_profile", handle)
    profile = found.get("partition_profile") if isinstance(found, dict) else None
    compute = profile.get("profile_type") if isinstance(profile, dict) else None
    if _told(compute) is None:
        compute = ask(smi, "amdsmi_get_gpu_compute_partition", handle)
    memory = ask(smi, "amdsmi_get_gpu_memory_partition", handle)
    return "/".join(filter(None, map(_told, (compute, memory)))) or None


def _most_mhz(smi: Any, handle: Any) -> dict[str, float]:
    kinds = {"compute": smi.AmdSmiClkType.GFX, "memory": smi.AmdSmiClkType.MEM}
    clocks = {
        name: _number(_given(ask(smi, "amdsmi_get_clock_info", handle, kind), {}), "max_clk")
        for name, kind in kinds.items()
    }
    return {name: float(mhz) for name, mhz in clocks.items() if mhz}
