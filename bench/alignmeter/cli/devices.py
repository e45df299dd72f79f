"""`alignmeter devices`: what can be measured on this machine."""

__all__ = ["devices"]

import json
from pathlib import Path

import click

from alignmeter.streams import tell


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--require", metavar="LIST",
              help="Check what is named here, separated by commas, and end with exit status 1 if "
              "something is missing: an accelerator, a telemetry library such as nvml, agreement, "
              "cool, disk, idle, telemetry.")  # fmt: skip
def devices(as_json: bool, require: str | None) -> None:
    """List the accelerators here, their telemetry, and what is missing.

    What is missing comes with the reason and what would enable it.

    Exit status: 0 all is there, 1 something that is required is missing, 2
    nothing is called so.
    """
    if require is not None:
        _check([name.strip() for name in require.split(",")])
        return
    from alignmeter.accelerators.inventory import inventory
    from alignmeter.registry import ACCELERATORS

    rows = [inventory(name) for name in ACCELERATORS]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from alignmeter.terminal.devices import device_parts
    from alignmeter.terminal.tables import print_parts

    print_parts(device_parts(rows))


def _check(names: list[str]) -> None:
    from alignmeter.lab.preflight import check_names, required_accelerators, unmet

    check_names(names, "--require")
    missing = unmet(required_accelerators(names), names, folder=Path())
    for sentence in missing:
        tell(sentence)
    if missing:
        raise click.exceptions.Exit(1)
    click.echo(f"ready: {', '.join(names)}")
