"""`alignmeter kernels`: which kernel compiles for which chip, and what it needs there."""

__all__ = ["kernels"]

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignmeter import __version__
from alignmeter.cli.output import put_out
from alignmeter.errors import InputError, known
from alignmeter.records.folder import check_writable
from alignmeter.records.portability import (
    SCHEMA_VERSION,
    Portability,
    PortabilityRow,
    encode_portability,
    failures,
)
from alignmeter.streams import tell, user_stream
from alignmeter_kernels import compilable
from alignmeter_kernels.chips import CHIPS

if TYPE_CHECKING:
    from alignmeter.cli.compiling import Job

_DTYPES = ("bfloat16", "float16", "float32")
_DEFAULT_DTYPES = "bfloat16,float32"


@click.command()
@click.option("--targets", metavar="CHIP,...", help="Chips to compile for (default all).")
@click.option("--kernels", "names", metavar="NAME,...", help="Kernels to compile (default all).")
@click.option("--dtypes", metavar="DTYPE,...", default=_DEFAULT_DTYPES, show_default=True,
              help=f"Of {', '.join(_DTYPES)}.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Store the JSON; as DIR/kernels.json a report over DIR shows it.")  # fmt: skip
def kernels(
    targets: str | None, names: str | None, dtypes: str, as_json: bool, out: Path | None
) -> None:
    """Compile every Triton kernel for chips that need not be here.

    Shows registers per thread, spills, shared memory (LDS) of a program,
    resident warps and the matrix instruction. It compiles what dispatch would
    launch on each chip; nothing is run. Exit status 1 if something does not
    compile, spills on a data-centre chip, or multiplies matrices without the
    matrix unit.
    """
    if out is not None:
        check_writable(out)
    jobs = _jobs(targets, names, dtypes)
    from alignmeter.terminal.portability import portability_parts
    from alignmeter_kernels.portability import triton_version

    table = Portability(
        schema_version=SCHEMA_VERSION,
        triton=triton_version(),
        alignmeter=__version__,
        rows=_compiled(jobs),
    )
    put_out(encode_portability(table), lambda: portability_parts(table), as_json=as_json, out=out)
    wrong = failures(table)
    for sentence in wrong:
        tell(f"Failed: {sentence}")
    if wrong:
        raise click.exceptions.Exit(1)


def _jobs(targets: str | None, names: str | None, dtypes: str) -> "list[Job]":
    """One per kernel, dtype and chip. Raises `InputError` for a name that is not known."""
    chosen_dtypes = _chosen("--dtypes", dtypes, _DTYPES)
    chips = _chosen("--targets", targets, CHIPS)
    packages = compilable()
    chosen = _chosen("--kernels", names, packages)
    from alignmeter.cli.compiling import Job
    from alignmeter_kernels.portability import missing

    why = missing()
    if why is not None:
        raise InputError(why)
    return [
        Job(kernel=name, package=packages[name], chip=chip, dtype=dtype)
        for name in chosen
        for dtype in chosen_dtypes
        for chip in chips
    ]


def _chosen(option: str, text: str | None, choices: Iterable[str]) -> list[str]:
    every = list(choices)
    wanted = every if text is None else list(dict.fromkeys(text.split(",")))
    for name in wanted:
        if name not in every:
            raise InputError(f"{option}: {name!r} is not one of them; {known(every)}")
    return wanted


def _compiled(jobs: "Sequence[Job]") -> list[PortabilityRow]:
    from rich.console import Console
    from rich.progress import Progress

    from alignmeter.cli.compiling import compile_jobs

    console = Console(file=user_stream())
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("compiling", total=len(jobs))
        return compile_jobs(jobs, lambda: bar.advance(task))
