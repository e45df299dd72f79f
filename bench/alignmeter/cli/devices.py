"""`alignmeter devices`: what can be measured on this machine."""

__all__ = ["devices"]

import json
from dataclasses import asdict
from typing import Any

import click

from alignmeter.units import bytes_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def devices(as_json: bool) -> None:
    """List the accelerators here, and why the others are missing."""
    rows = _rows()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        if row["missing"] is not None:
            click.echo(f"{row['accelerator']:<5} missing: {row['missing']}")
            continue
        for device in row["devices"]:
            memory = bytes_text(device["memory_bytes"] or 0)
            click.echo(f"{row['accelerator']:<5} {device['name']}, {memory} ({row['memory_kind']})")
        energy = row["energy_missing"]
        said = "counter" if energy is None else f"none: {energy}"
        click.echo(f"{'':<5} energy: {said}")


def _rows() -> list[dict[str, Any]]:
    from alignmeter.accelerators import open_accelerator
    from alignmeter.registry import ACCELERATORS
    from alignmeter.telemetry import open_telemetry

    rows = []
    for name in ACCELERATORS:
        accelerator = open_accelerator(name)
        missing = accelerator.missing()
        rows.append(
            {
                "accelerator": name,
                "missing": missing,
                "memory_kind": accelerator.memory_kind,
                "devices": [] if missing else [asdict(d) for d in accelerator.devices()],
                "energy_missing": open_telemetry(name).missing(),
            }
        )
    return rows
