"""The command line."""

__all__ = ["main"]

import sys
from pathlib import Path

import click

from alignmeter import __version__
from alignmeter.cli.cell import cell
from alignmeter.cli.compare import compare
from alignmeter.cli.devices import devices
from alignmeter.cli.history import history
from alignmeter.cli.kernels import kernels
from alignmeter.cli.plan import plan
from alignmeter.cli.report import report
from alignmeter.cli.run import run
from alignmeter.cli.sizes import sizes
from alignmeter.cli.streams import open_streams
from alignmeter.errors import InputError

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@click.group(context_settings=_HELP)
@click.version_option(__version__, prog_name="alignmeter")
def cli() -> None:
    """Measure what alignment training costs on the hardware at hand.

    Start with `alignmeter run`: it measures DPO and PPO on a small Transformer
    and a small Mamba, and writes a report.

    Exit status: 0 done, 1 a gate failed, 2 wrong usage or input,
    3 nothing could be measured.
    """


for _command in (devices, run, cell, plan, report, compare, history, sizes, kernels):
    cli.add_command(_command)


def main() -> None:
    """Entry point: bad input becomes one sentence and exit status 2."""
    open_streams()
    try:
        _check_folder()
        sys.exit(cli.main(standalone_mode=False))  # an exit status, or None for success
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _check_folder() -> None:
    """Libraries that look up their own files in it abort the process where it is gone."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError(
            f"the working directory cannot be used ({error.strerror}); change to one that exists"
        ) from error
