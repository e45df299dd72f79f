"""The command line."""

__all__ = ["main"]

import sys

import click

from alignmeter import __version__
from alignmeter.cli.bisect import bisect
from alignmeter.cli.cell import cell
from alignmeter.cli.compare import compare
from alignmeter.cli.devices import devices
from alignmeter.cli.ending import Outermost, run_to_end
from alignmeter.cli.history import history
from alignmeter.cli.imports import import_results
from alignmeter.cli.kernels import kernels
from alignmeter.cli.lab import lab
from alignmeter.cli.links import links
from alignmeter.cli.plan import plan
from alignmeter.cli.report import report
from alignmeter.cli.run import run
from alignmeter.cli.sizes import sizes
from alignmeter.cli.store import store
from alignmeter.cli.suite import suite

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@click.group(cls=Outermost, context_settings=_HELP)
@click.version_option(__version__, prog_name="alignmeter")
def cli() -> None:
    """Measure what alignment training costs on the hardware at hand.

    Start with `alignmeter run`: it measures DPO and PPO on a small Transformer
    and a small Mamba, and writes a report.

    Exit status: 0 done, 1 a gate failed, 2 wrong usage or input,
    3 nothing could be measured, 70 a fault of alignmeter itself.
    """


for _command in (devices, run, cell, plan, report, compare, history, sizes, kernels,
                 links, suite, import_results, store, bisect, lab):  # fmt: skip
    cli.add_command(_command)


def main() -> None:
    """Entry point: runs the command and ends with its exit status."""
    sys.exit(run_to_end(cli))
