"""What one machine has of an accelerator: its devices, how torch numbers them, what they report."""

__all__ = ["inventory"]

import os
from dataclasses import asdict
from typing import Any

import msgspec

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.base import Accelerator
from alignmeter.accelerators.device_query import query
from alignmeter.analysis.chips import chip_of
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.timeout import WithTimeout


def inventory(accelerator: str) -> dict[str, Any]:
    """One accelerator: whether torch can use it, and what its telemetry reports of each device.

    A row of `alignmeter devices --json`; ``torch_devices``: how many torch can use.
    Raises `InputError` for a name without a row.
    """
    asked = open_accelerator(accelerator)
    telemetry = WithTimeout(lambda: open_telemetry(accelerator))
    probe = telemetry.probe()
    found = [_device(telemetry, key) for key in telemetry.devices()]
    _number(asked, found)
    telemetry.close()
    seen = query(accelerator)
    return {
        "accelerator": accelerator,
        "torch_missing": seen.missing,
        "torch_devices": len(seen.devices),
        "telemetry": asdict(probe),
        "devices": found,
    }


def _device(telemetry: Any, key: str) -> dict[str, Any]:
    try:
        identity, capabilities = telemetry.identity(key), telemetry.capabilities(key)
    except TimeoutError as error:
        return {"key": key, "hung": str(error)}
    sample = telemetry.read(key)
    chip = chip_of(
        identity.name,
        identity.form_factor,
        identity.power_cap_w,
        identity.memory_bytes,
        identity.partition,
    )
    return {
        "key": key,
        "chip": chip,
        "who": identity,
        "identity": asdict(identity),
        "capabilities": asdict(capabilities),
        "sample": msgspec.structs.asdict(sample),
    }


def _number(accelerator: Accelerator, found: list[dict[str, Any]]) -> None:
    """Add to each device how torch numbers it under this environment's variables."""
    named = [(device["key"], device.pop("who")) for device in found if "who" in device]
    seen = accelerator.visible(os.environ, named)
    for device in found:
        if device.get("identity", {}).get("divided"):
            device["torch"] = "none: it is in slices, and each of them is a device"
        elif seen.devices is None:
            device["torch"] = f"number unknown: {seen.reason}; {seen.remedy}"
        elif device["key"] in seen.devices:
            device["torch"] = f"{accelerator.device_type}:{seen.devices.index(device['key'])}"
        else:
            device["torch"] = "hidden by the visible-devices variables"
