"""`alignmeter links`: what this machine's devices reach between them."""

__all__ = ["links"]

from pathlib import Path

import click

from alignmeter.cli.output import put_out
from alignmeter.errors import CellError, InputError
from alignmeter.records.folder import check_writable


@click.command()
@click.option("--accelerator", default="auto", show_default=True, metavar="NAME",
              help="Whose devices.")  # fmt: skip
@click.option("--world-size", type=int, metavar="N",
              help="Devices (default: all of them; on a CPU two processes).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also store the JSON.")  # fmt: skip
def links(accelerator: str, world_size: int | None, as_json: bool, out: Path | None) -> None:
    """Measure latency and bandwidth between the devices of this machine.

    All-gather, reduce-scatter and all-reduce over sizes, by the backend that a
    step of several devices takes (nccl, xccl, on a CPU gloo). The figures are
    kept: records of as many devices here name them beside what was sent.
    """
    from alignmeter.accelerators import open_accelerator
    from alignmeter.records.links import encode_links
    from alignmeter.session.launcher import Launcher
    from alignmeter.session.links import measure_links
    from alignmeter.terminal.links import links_parts

    if out is not None:
        check_writable(out)
    try:
        with Launcher() as launcher:
            found = measure_links(open_accelerator(accelerator).name, launcher, world_size)
    except CellError as error:
        raise InputError(error.text) from error
    put_out(encode_links(found), lambda: links_parts(found), as_json=as_json, out=out)
