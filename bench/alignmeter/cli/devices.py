"""`alignmeter devices`: what can be measured on this machine."""

__all__ = ["devices"]

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from alignmeter.accelerators.base import Accelerator


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def devices(as_json: bool) -> None:
    """List the accelerators here, their telemetry, and what is missing.

    What is missing comes with the reason and what would enable it.
    """
    rows = [_row(name) for name in _names()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from alignmeter.terminal.devices import device_parts
    from alignmeter.terminal.tables import print_parts

    print_parts(device_parts(rows))


def _names() -> list[str]:
    from alignmeter.registry import ACCELERATORS

    return list(ACCELERATORS)


def _row(accelerator: str) -> dict[str, Any]:
    """One accelerator: whether torch can use it, and what its telemetry reports of each device."""
    from alignmeter.accelerators import open_accelerator
    from alignmeter.accelerators.device_query import query
    from alignmeter.telemetry import open_telemetry
    from alignmeter.telemetry.timeout import WithTimeout

    asked = open_accelerator(accelerator)
    telemetry = WithTimeout(lambda: open_telemetry(accelerator))
    probe = telemetry.probe()
    found = [_device(telemetry, key) for key in telemetry.devices()]
    _number(asked, found)
    telemetry.close()
    return {
        "accelerator": accelerator,
        "torch_missing": query(accelerator).missing,
        "telemetry": asdict(probe),
        "devices": found,
    }


def _device(telemetry: Any, key: str) -> dict[str, Any]:
    from alignmeter.analysis.chips import chip_of

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


def _number(accelerator: "Accelerator", found: list[dict[str, Any]]) -> None:
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
