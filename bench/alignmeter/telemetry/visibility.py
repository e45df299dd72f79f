"""Which devices the visible-devices variables leave, in the order in which torch numbers them.

Pure functions on an environment and on the devices that a library sees. Where the variables do not
tell, the answer is a reason: `matching.find_device` then finds a device by its UUID.

Sources: CUDA Programming Guide, "CUDA Environment Variables"; ROCm documentation, "GPU isolation
techniques", with ROCR's ``RvdFilter`` and HIP's ``Device::init``; ``_parse_visible_devices`` of
torch.cuda (2.13), which is followed where the runtimes differ from it; Intel's "Flattening GPU tile
hierarchy" for Level Zero.
"""

__all__ = ["Visible", "visible", "visible_amd", "visible_intel", "visible_nvidia"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from alignmeter.telemetry.base import Identity

_UUIDS = ("GPU-", "MIG-")
_PCI_ORDER = "set CUDA_DEVICE_ORDER=PCI_BUS_ID or use UUIDs"
Named = tuple[str, Identity]
"""A telemetry's key and who that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visible:
    """Keys of the visible devices as torch numbers them, or why that cannot be known from outside.

    ``remedy``: what would make it known.
    """

    devices: tuple[str, ...] | None
    reason: str | None = None
    remedy: str | None = None


def visible_nvidia(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER leave of ``devices``, in NVML's order."""
    asked = environment.get("CUDA_VISIBLE_DEVICES")
    if asked is not None and asked.startswith(_UUIDS):
        found = _by_uuid(asked, devices)
        if len(found) > 1 and asked.startswith("MIG-"):
            return _unknown(
                "how many MIG instances one process sees depends on the version of CUDA",
                "name one instance in CUDA_VISIBLE_DEVICES",
            )
        return Visible(devices=found)
    if asked is not None and not _indices(asked):
        return Visible(devices=())
    if any((identity.uuid or "").startswith("MIG-") for _, identity in devices):
        return _unknown("with MIG an index names no instance", "use the UUID of an instance, MIG-…")
    # Like devices are equally fast, and keep the order of their buses.
    unlike = len({(identity.name, identity.memory_bytes) for _, identity in devices}) > 1
    if unlike and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return _unknown("CUDA numbers unlike GPUs by a speed that only it knows", _PCI_ORDER)
    if len(devices) > 1 and not all(identity.pci_bus_id for _, identity in devices):
        return _unknown("CUDA orders by PCI bus id, and a GPU has none", "use UUIDs")
    ordered = [key for key, _ in sorted(devices, key=lambda named: named[1].pci_bus_id or "")]
    if asked is None:
        return Visible(devices=tuple(ordered))
    return Visible(devices=_by_index(_indices(asked), ordered))


def visible_amd(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What ROCR_VISIBLE_DEVICES, then HIP_VISIBLE_DEVICES, or else CUDA_VISIBLE_DEVICES, leave.

    HIP numbers by `Identity.runtime_index`. GPU_DEVICE_ORDINAL is OpenCL's: HIP does not read it.
    """
    ranks = {key: identity.runtime_index for key, identity in devices}
    if len(devices) > 1 and None in ranks.values():
        return _unknown("AMD SMI does not tell HIP's order", "use UUIDs, or ROCm 6.4 or later")
    devices = sorted(devices, key=lambda named: ranks[named[0]] or 0)
    rocr = environment.get("ROCR_VISIBLE_DEVICES")
    hip = environment.get("HIP_VISIBLE_DEVICES")
    asked = environment.get("CUDA_VISIBLE_DEVICES") if hip is None else hip
    if rocr is not None and hip is not None and hip.count(",") > rocr.count(","):
        return _unknown(
            "torch refuses a HIP_VISIBLE_DEVICES with more entries than ROCR_VISIBLE_DEVICES",
            "set one of the two",
        )
    left = list(devices)
    if rocr is not None:
        names = dict(left)
        left = [(key, names[key]) for key in _by_token(rocr, left)]
    if asked is None:
        return Visible(devices=tuple(key for key, _ in left))
    if asked.startswith("GPU-"):
        return Visible(devices=_by_uuid(asked, left))
    return Visible(devices=_by_index(_indices(asked), [key for key, _ in left]))


def visible_intel(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What ZE_AFFINITY_MASK leaves of ``devices``, in Level Zero's order, of one stack each.

    Of a card with several stacks each is a device of its own unless ZE_FLAT_DEVICE_HIERARCHY is
    COMPOSITE; such cards are found by UUID only.
    """
    if "ONEAPI_DEVICE_SELECTOR" in environment:
        return _unknown(
            "ONEAPI_DEVICE_SELECTOR is read by SYCL and names backends as well",
            "unset it and use ZE_AFFINITY_MASK",
        )
    asked = environment.get("ZE_AFFINITY_MASK")
    keys = [key for key, _ in devices]
    if asked is None or not asked.strip():
        return Visible(devices=tuple(keys))
    parts = [part.strip() for part in asked.split(",")]
    if any("." in part for part in parts):
        return _unknown(
            f"ZE_AFFINITY_MASK={asked} names stacks of a card", "name whole devices, such as 0,1"
        )
    numbers = [int(part) if part.isdecimal() else -1 for part in parts]
    if not all(0 <= number < len(keys) for number in numbers):
        return _unknown(
            f"ZE_AFFINITY_MASK={asked} names a device that is not there",
            f"there are {len(keys)}, numbered from 0",
        )
    if numbers != sorted(set(numbers)):
        return _unknown(
            f"ZE_AFFINITY_MASK={asked} selects and does not order", "name devices in rising order"
        )
    return Visible(devices=tuple(keys[number] for number in numbers))


_RULES = {"cuda": visible_nvidia, "rocm": visible_amd, "xpu": visible_intel}


def visible(accelerator: str, environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """By the rules of that accelerator's vendor; nothing hides a CPU."""
    if accelerator not in _RULES:
        return Visible(devices=tuple(key for key, _ in devices))
    return _RULES[accelerator](environment, devices)


def _unknown(reason: str, remedy: str) -> Visible:
    return Visible(devices=None, reason=reason, remedy=remedy)


def _indices(text: str) -> list[int]:
    """The indices before the first entry that is none; nothing if one comes twice.

    An entry counts by the number it starts with (``1gpu`` is 1), as C's strtoul has it.
    """
    found: list[int] = []
    for entry in text.split(","):
        match = re.match(r"\+?(\d+)", entry.strip(), re.ASCII)
        if match is None:
            break
        if int(match[1]) in found:
            return []
        found.append(int(match[1]))
    return found


def _by_index(indices: Sequence[int], keys: Sequence[str]) -> tuple[str, ...]:
    """The devices before the first index that is out of range."""
    found = []
    for index in indices:
        if index >= len(keys):
            break
        found.append(keys[index])
    return tuple(found)


def _by_uuid(text: str, devices: Sequence[Named]) -> tuple[str, ...]:
    """The devices before the first entry that names none or several; nothing if one comes twice."""
    prefix = text[:4]
    entries = list(takewhile(lambda entry: entry.startswith(prefix), text.split(",")))
    named = [_named(entry, devices) for entry in entries]
    found = list(takewhile(lambda key: key is not None, named))
    if len(set(entries)) < len(entries) or len(set(found)) < len(found):
        return ()
    return tuple(key for key in found if key is not None)


def _by_token(text: str, devices: Sequence[Named]) -> list[str]:
    """ROCR's reading: indices and UUIDs may be mixed, and a repeated device ends the list."""
    found: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        if entry.startswith("GPU-"):
            key = _named(entry, devices)
        else:
            index = int(entry) if entry.isdecimal() else len(devices)
            key = devices[index][0] if index < len(devices) else None
        if key is None or key in found:
            break
        found.append(key)
    return found


def _named(entry: str, devices: Sequence[Named]) -> str | None:
    """The one device whose UUID starts so."""
    found = [key for key, identity in devices if (identity.uuid or "").startswith(entry)]
    return found[0] if len(found) == 1 else None
