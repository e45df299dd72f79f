"""The predicted DPO-vs-PPO delta: ``python tests/trust/delta_8b.py [MATRIX]``."""

__all__ = ["main", "table"]

from collections.abc import Iterator, Sequence

import click

from alignmeter.analysis.delta import PARTS
from alignmeter.cells.matrix import expand, read_matrix
from alignmeter.planner.store import plan_cell
from alignmeter.records.prediction import Prediction
from alignmeter.session.resolve import resolve_plan
from alignmeter.units import GIB


def table(predictions: Sequence[Prediction]) -> Iterator[str]:
    """Lines of Markdown in GiB: a row per PPO cell whose DPO cell is there too.

    The last columns are the delta's parts and sum to it.
    """
    parts = " | ".join(PARTS)
    yield (
        "| kernels | checkpointing | topology | backward | DPO | PPO | PPO - DPO | DPO saves "
        f"| {parts} |"
    )
    yield "|---|---|---|---|" + "---:|" * (4 + len(PARTS))
    partners = {_partner_key(p): p for p in predictions if p.cell.method == "dpo"}
    for ppo in predictions:
        dpo = partners.get(_partner_key(ppo))
        if ppo.cell.method == "ppo" and dpo is not None:
            yield _row(dpo, ppo)


def _partner_key(prediction: Prediction) -> tuple[object, ...]:
    """What a cell is beside its method and what only PPO has."""
    axes = prediction.cell.axes().items()
    return tuple(v for name, v in axes if name != "method" and not name.startswith("ppo_"))


def _row(dpo: Prediction, ppo: Prediction) -> str:
    delta = ppo.peak_bytes - dpo.peak_bytes
    parts = [
        sum(ppo.ledger[f"{owner}_bytes"] - dpo.ledger[f"{owner}_bytes"] for owner in owners)
        for owners in PARTS.values()
    ]
    cell = ppo.cell
    figures = [f"{count / GIB:.2f}" for count in (dpo.peak_bytes, ppo.peak_bytes, delta)]
    columns = [
        cell.kernels, cell.checkpointing, cell.ppo_topology, cell.ppo_backward, *figures,
        f"{100 * delta / ppo.peak_bytes:.0f} %", *(f"{count / GIB:.2f}" for count in parts),
    ]  # fmt: skip
    return f"| {' | '.join(columns)} |"


@click.command()
@click.argument("matrix", default="delta8b")
def main(matrix: str) -> None:
    """Plan the cells of MATRIX for NVIDIA and print what PPO needs beyond DPO, in GiB."""
    plan = resolve_plan(expand(read_matrix(matrix), {"accelerator": ("cuda",)}))
    found = []
    for planned in plan:
        found.append(plan_cell(planned.cell))
        click.echo(f"{len(found)} of {len(plan)}", err=True)
    click.echo("\n".join(table(found)))


if __name__ == "__main__":
    main()
