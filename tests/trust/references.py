"""Compute the packaged references: ``python tests/trust/references.py``.

Every tiny cell of the packaged matrices, once as fp32 keeps its weights and once as bf16 does. Run
it when a method, a matrix or the pinned libraries change; a test finds the ones that are missing,
and ``--missing`` computes only those.
"""

__all__ = ["main", "packaged_cells"]

from importlib import resources
from pathlib import Path

import click
import msgspec
from rich.progress import track

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
from alignmeter.session.resolve import resolve_plan
from alignmeter.worker.agreement import checked_cell, make_reference, sliced_layers

_SEED = 0
_SEARCHES = {"capacity"}
"""Matrices whose cells are where a search begins: its tries take no agreement steps."""
_DIGITS = 9
"""Of fp32's figures; no band comes near the last one."""


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
                )
                found[key] = cell, rounded
    return found


@click.command()
@click.option("--missing", is_flag=True, help="Keep those that are there and still wanted.")
def main(missing: bool) -> None:
    """Write ``records/references.json`` of the package that is installed."""
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
