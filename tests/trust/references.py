"""Compute the packaged references: ``python tests/trust/references.py``.

Every tiny cell of the packaged matrices, once as fp32 keeps its weights and once as bf16 does. Run
it when a method, a matrix or the pinned libraries change; a test finds the ones that are missing,
and ``--missing`` computes only those. ``--check``, in an environment of other versions, says
whether the packaged ones serve those too, as `records/reference.py` may then say; with ``--brief``
one of each architecture and PEFT mode has to do.
"""

__all__ = ["main", "packaged_cells"]

import math
from importlib import resources
from pathlib import Path

import click
import msgspec
from rich.progress import track

from alignmeter.accelerators.imported import installed_versions
from alignmeter.architectures.precision import REFERENCE
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import expand, packaged_names, read_matrix
from alignmeter.methods import open_method
from alignmeter.records.reference import (
    SCHEMA_VERSION,
    Reference,
    packaged_references,
    reference_key,
)
from alignmeter.registry import PEFT_MODES
from alignmeter.session.findings.bands import compare
from alignmeter.session.resolve import resolve_plan
from alignmeter.worker.agreement import checked_cell, make_reference, sliced_layers

_SEED = 0
_SEARCHES = {"capacity"}
"""Matrices whose cells are where a search begins: its tries take no agreement steps."""
_DIGITS = 9
"""Of fp32's figures; no band comes near the last one."""
_WITHIN = 0.1
"""Share of a band that another version may be off: the band is the cell's."""
_DRAWERS = ("torch", "transformers", "peft", "bitsandbytes", "python")


def packaged_cells() -> dict[str, tuple[Cell, bool]]:
    """Reference key -> cell and whether its weights are rounded, for all tiny packaged cells."""
    found = {}
    for name in sorted({*packaged_names()} - _SEARCHES):
        choices = expand(read_matrix(name), {"accelerator": ("cpu",)})
        for planned in resolve_plan(choices):
            cell = checked_cell(planned.cell)
            if cell.size != "tiny" or planned.unsupported is not None:
                continue
            # Full fine-tuning keeps fp32 weights in every precision that is a default somewhere.
            for rounded in (False, True) if PEFT_MODES[cell.peft].adapters else (False,):
                key = reference_key(
                    cell,
                    open_method(cell.method).hyperparameters,
                    seed=_SEED,
                    layers=sliced_layers(cell),
                    rounded=rounded,
                    packaged=True,
                )
                found[key] = cell, rounded
    return found


def farthest(reference: Reference, packaged: Reference, cell: Cell) -> float:
    """The largest difference of a figure as a share of its band; infinite for other tokens."""
    if reference.rollouts != packaged.rollouts:
        return math.inf
    plain = msgspec.structs.replace(cell, precision=REFERENCE)
    return max(
        abs(found - wanted) / signal.band if found is not None else math.inf
        for signal in compare(reference.signals, packaged, plain)
        for found, wanted in zip(signal.measured, signal.reference, strict=True)
    )


def _check(brief: bool) -> None:
    """Raises `click.ClickException` if a packaged reference does not serve what is installed."""
    shares, cells = {}, packaged_cells()
    if brief:
        kinds = {(c.architecture, c.peft): key for key, (c, _) in reversed(cells.items())}
        cells = {key: cells[key] for key in kinds.values()}
    for key, (cell, rounded) in track(cells.items(), description="references"):
        reference = make_reference(cell, _SEED, sliced_layers(cell), rounded)
        shares[key] = farthest(reference, packaged_references()[key], cell), cell.id
    share, name = max(shares.values())
    versions = installed_versions()
    here = ", ".join(f"{p} {versions[p]}" for p in _DRAWERS if p in versions)
    words = f"{len(shares)} references with {here}: at most {share:.3f} of a band apart ({name})"
    if share > _WITHIN:
        raise click.ClickException(words)
    click.echo(words)


@click.command()
@click.option("--missing", is_flag=True, help="Keep those that are there and still wanted.")
@click.option("--check", is_flag=True, help="Write nothing: compare with those that are there.")
@click.option("--brief", is_flag=True, help="Of each kind one.")
def main(missing: bool, check: bool, brief: bool) -> None:
    """Write ``records/references.json`` of the package that is installed."""
    if check:
        _check(brief)
        return
    path = Path(str(resources.files("alignmeter.records") / "references.json"))
    wanted, there = packaged_cells(), packaged_references() if missing else {}
    made: dict[str, Reference] = {key: there[key] for key in wanted if key in there}
    absent = {key: cell for key, cell in wanted.items() if key not in made}
    for key, (cell, rounded) in track(absent.items(), description="references"):
        reference = make_reference(cell, _SEED, sliced_layers(cell), rounded)
        signals = {
            name: [float(f"{value:.{_DIGITS}g}") for value in values]
            for name, values in reference.signals.items()
        }
        made[key] = msgspec.structs.replace(reference, signals=signals)
    lines = (f'"{key}": {msgspec.json.encode(made[key]).decode()}' for key in sorted(made))
    head = f'{{"schema_version": {SCHEMA_VERSION}, "references": {{\n'
    path.write_text(head + ",\n".join(lines) + "\n}}\n")
    click.echo(f"{len(made)} references in {path}")


if __name__ == "__main__":
    main()
