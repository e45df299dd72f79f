"""What can be measured on this machine, device by device."""

__all__ = ["device_parts"]

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignmeter.terminal.tables import Paragraph, Part, fields
from alignmeter.text import plain
from alignmeter.units import bytes_text

_ASIDE = 6
"""Columns that the names of accelerators take."""
_Fields = Iterator[tuple[str, str]]


def device_parts(rows: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """The rows of `alignmeter devices --json`: an accelerator with its devices, or why there are
    none.
    """
    for row in rows:
        probe, name = row["telemetry"], row["accelerator"]
        if not row["devices"]:
            reason = f"missing: {probe['reason'] or row['torch_missing']}"
            yield _named(name, f"{reason}; {probe['remedy']}" if probe["remedy"] else reason)
            continue
        *others, last = row["devices"]
        for device in others:
            yield from _device(name, device, row["torch_missing"])
        yield from _device(name, last, row["torch_missing"], probe["library"] or "")


def _named(name: str, text: str) -> Paragraph:
    """The name stands in the first line, beside the text."""
    return Paragraph(text, head=f"{name:<{_ASIDE - 1}} ")


def _device(
    name: str, device: Mapping[str, Any], torch_missing: str | None, library: str = ""
) -> Iterator[Part]:
    """``library``: what all devices of the accelerator were read through, where it is known."""
    if "hung" in device:
        yield _named(name, plain(f"{device['key']}: {device['hung']}"))
        return
    memory = device["identity"]["memory_bytes"]
    size = f", {bytes_text(memory)}" if memory else ""
    yield _named(name, plain(f"{device['identity']['name']}{size}"))
    texts = [*_texts(name, device, torch_missing), ("read through", library)]
    yield fields([(label, Paragraph(plain(text), hang=2)) for label, text in texts if text],
                 indent=_ASIDE)  # fmt: skip


def _texts(name: str, device: Mapping[str, Any], torch_missing: str | None) -> _Fields:
    identity, can = device["identity"], device["capabilities"]
    if torch_missing:
        yield "cannot be used", torch_missing
    elif name != "cpu":
        yield "in torch", device["torch"]
    yield "identity", _joined(_identity(identity))
    cap = identity["power_cap_w"]
    scope = f"{can['energy_scope']} counter" if can["energy_scope"] else "no counter"
    power = f"{can['power_kind']} power" if can["power_kind"] else "no power sensor"
    yield "energy", _joined([scope, power, f"cap {cap:g} W" if cap else ""])
    yield "now", _joined(_now(device["sample"]))
    chip = device["chip"]
    yield "peak figures", f"as {chip}" if chip else "unknown hardware: no MFU"
    for reason, figures in _by_reason(can["missing"]).items():
        yield "not read", f"{', '.join(figures)}: {reason}"


def _identity(identity: Mapping[str, Any]) -> list[str]:
    names = ("form_factor", "partition", "uuid", "pci_bus_id")
    driver = f"driver {identity['driver']}" if identity["driver"] else ""
    return [*(identity[name] or "" for name in names), driver]


def _now(sample: Mapping[str, Any]) -> list[str]:
    used, power, clock = sample["memory_used_bytes"], sample["power_w"], sample["clock_mhz"]
    return [
        f"{bytes_text(used)} in use" if used is not None else "",
        f"{power:.0f} W" if power is not None else "",
        f"{clock:.0f} MHz" if clock is not None else "",
        f"{sample['temperature_c']:.0f} °C" if sample["temperature_c"] is not None else "",
        " ".join(sample["throttles"] or ()),
    ]


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for figure, reason in missing.items():
        reasons.setdefault(reason, []).append(figure)
    return reasons


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(part for part in parts if part)
