"""`alignmeter kernels`: which kernel compiles for which chip, and what it needs there."""

__all__ = ["kernels"]

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignmeter import __version__
from alignmeter.errors import InputError, known
from alignmeter.records.folder import write_bytes
from alignmeter.records.portability import (
    SCHEMA_VERSION,
    Portability,
    PortabilityRow,
    encode_portability,
    failures,
    summary,
)
from alignmeter.units import bytes_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from alignmeter.cli.compiling import Job

_DTYPES = ("bfloat16", "float16", "float32")
_DEFAULT_DTYPES = "bfloat16,float32"
_COLUMNS = {
    "chip": 7, "warps": 5, "registers": 9, "spills": 6, "shared": 8, "resident": 12, "matrix": 26,
}  # fmt: skip
"""Widths, together 79 with the gaps; ``v_mfma_f32_16x16x16bf16_1k`` is the longest instruction."""
_LEFT = ("chip", "matrix")
_DASH = "\N{EN DASH}"


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
    from alignmeter_kernels.portability import triton_version

    jobs = _jobs(targets, names, dtypes)
    table = Portability(
        schema_version=SCHEMA_VERSION,
        triton=triton_version(),
        alignmeter=__version__,
        rows=_compiled(jobs),
    )
    data = encode_portability(table)
    if out is not None:
        write_bytes(out, data)
    if as_json:
        click.echo(data, nl=False)
    else:
        _print(table)
        if out is not None:
            click.echo(f"JSON  {out}")
    wrong = failures(table)
    for sentence in wrong:
        click.echo(f"Failed: {sentence}", err=True)
    if wrong:
        raise click.exceptions.Exit(1)


def _jobs(targets: str | None, names: str | None, dtypes: str) -> "list[Job]":
    """One per kernel, dtype and chip. Raises `InputError` for a name that is not known."""
    from alignmeter.cli.compiling import Job
    from alignmeter_kernels.chips import CHIPS
    from alignmeter_kernels.portability import compilable, missing

    chips = _chosen("--targets", targets, CHIPS)
    chosen_dtypes = _chosen("--dtypes", dtypes, _DTYPES)
    packages = compilable()
    chosen = _chosen("--kernels", names, packages)
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

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("compiling", total=len(jobs))
        return compile_jobs(jobs, lambda: bar.advance(task))


def _print(table: Portability) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    groups: dict[str, list[PortabilityRow]] = {}
    for row in table.rows:
        title = f"{row.kernel}: {row.function}, {row.dtype}, {row.case}"
        groups.setdefault(title, []).append(row)
    for title, rows in groups.items():
        console.print(Text(title, style="bold"))
        _print_group(console, rows)
        console.print()
    style = "red" if failures(table) else "green"
    console.print(Text(summary(table), style=style))
    console.print(Text(f"Compiled by Triton {table.triton} without a GPU; nothing was run."))


def _print_group(console: "Console", rows: Sequence[PortabilityRow]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name, width in _COLUMNS.items():
        table.add_column(name, width=width, justify="left" if name in _LEFT else "right")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: PortabilityRow) -> "list[Text]":
    from rich.text import Text

    if row.error is not None:
        gaps = [Text(_DASH)] * (len(_COLUMNS) - 2)
        return [Text(row.chip), *gaps, Text("fails, see below", style="red")]
    matrix = row.matrix or ("none" if row.wants_matrix else _DASH)
    return [
        Text(row.chip),
        Text(_figure(row.warps)),
        Text(_figure(row.registers)),
        Text(_figure(row.spills), style="" if row.spills == 0 else "red"),
        Text(_DASH if row.shared_bytes is None else bytes_text(row.shared_bytes)),
        Text(_DASH if row.occupancy is None else f"{row.occupancy} {row.occupancy_unit}"),
        Text(matrix, style="red" if matrix == "none" else ""),
    ]


def _figure(count: int | None) -> str:
    return _DASH if count is None else str(count)
