"""`alignmeter devices`: what can be measured on this machine."""

__all__ = ["devices"]

import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import msgspec

from alignmeter.units import bytes_text

if TYPE_CHECKING:
    from alignmeter.accelerators.base import Accelerator

_WIDTH = 78
_ASIDE = 18


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def devices(as_json: bool) -> None:
    """List the accelerators here, what their telemetry tells, and what is missing.

    What is missing comes with the reason and what would enable it.
    """
    rows = [_row(name) for name in _names()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo("\n".join(_lines(row)))


def _names() -> list[str]:
    from alignmeter.registry import ACCELERATORS

    return list(ACCELERATORS)


def _row(accelerator: str) -> dict[str, Any]:
    """One accelerator: whether torch can use it, and its telemetry's word on each device."""
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
        if seen.devices is None:
            device["torch"] = f"number unknown: {seen.reason}; {seen.remedy}"
        elif device["key"] in seen.devices:
            device["torch"] = f"{accelerator.device_type}:{seen.devices.index(device['key'])}"
        else:
            device["torch"] = "hidden by the visible-devices variables"


def _lines(row: dict[str, Any]) -> Iterator[str]:
    probe, name = row["telemetry"], row["accelerator"]
    if not row["devices"]:
        remedy = f"; {probe['remedy']}" if probe["remedy"] else ""
        reason = f"missing: {probe['reason'] or row['torch_missing']}{remedy}"
        yield from _wrapped(f"{name:<5} ", reason)
        return
    for device in row["devices"]:
        yield from _device_lines(name, device, row["torch_missing"])
    yield from _said("read through", probe["library"] or "")


def _device_lines(name: str, device: dict[str, Any], torch_missing: str | None) -> Iterator[str]:
    if "hung" in device:
        yield from _wrapped(f"{name:<5} ", f"{device['key']}: {device['hung']}")
        return
    identity, can, sample = device["identity"], device["capabilities"], device["sample"]
    memory = identity["memory_bytes"]
    size = f", {bytes_text(memory)}" if memory else ""
    yield from _wrapped(f"{name:<5} ", f"{identity['name']}{size}")
    if torch_missing:
        yield from _said("cannot be used", torch_missing)
    elif name != "cpu":
        yield from _said("in torch", device["torch"])
    yield from _said("identity", _joined(_identity(identity)))
    cap = identity["power_cap_w"]
    scope = f"{can['energy_scope']} counter" if can["energy_scope"] else "no counter"
    power = f"{can['power_kind']} power" if can["power_kind"] else "no power sensor"
    yield from _said("energy", _joined([scope, power, f"cap {cap:g} W" if cap else ""]))
    yield from _said("now", _joined(_now(sample)))
    chip = device["chip"]
    yield from _said("peak figures", f"as {chip}" if chip else "unknown hardware: no MFU")
    for reason, figures in _by_reason(can["missing"]).items():
        yield from _said("not read", f"{', '.join(figures)}: {reason}")


def _identity(identity: dict[str, Any]) -> list[str]:
    names = ("form_factor", "partition", "uuid", "pci_bus_id")
    driver = f"driver {identity['driver']}" if identity["driver"] else ""
    return [*(identity[name] or "" for name in names), driver]


def _now(sample: dict[str, Any]) -> list[str]:
    used, power, clock = sample["memory_used_bytes"], sample["power_w"], sample["clock_mhz"]
    return [
        f"{bytes_text(used)} in use" if used is not None else "",
        f"{power:.0f} W" if power is not None else "",
        f"{clock:.0f} MHz" if clock is not None else "",
        f"{sample['temperature_c']:.0f} °C" if sample["temperature_c"] is not None else "",
        " ".join(sample["throttles"] or ()),
    ]


def _by_reason(missing: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for figure, reason in missing.items():
        found.setdefault(reason, []).append(figure)
    return found


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def _said(label: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(f"      {label:<{_ASIDE - 6}} ", text)


def _wrapped(head: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH - len(head), break_on_hyphens=False)
    yield head + lines[0]
    for line in lines[1:]:
        yield " " * len(head) + line
