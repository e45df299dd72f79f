"""Models of one's own: what they do to a matrix, and what their layers do not take."""

__all__ = ["of_its_model", "unknown_layers"]

from collections.abc import Collection, Iterator
from dataclasses import replace

from alignmeter.architectures import architecture_of
from alignmeter.architectures.checkpoint import RANDOM
from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import Choice
from alignmeter.peft import open_peft
from alignmeter.registry import ARCHITECTURES, LOSS_HEADS, METHODS, PEFT_MODES


def of_its_model(choice: Choice, flags: Collection[str]) -> Choice:
    """A model that one of the ``flags`` names is of its own architecture, whatever a matrix has."""
    if "model" not in flags or "architecture" in flags or choice.axes["model"] == RANDOM:
        return choice
    axes = {name: value for name, value in choice.axes.items() if name != "architecture"}
    return replace(choice, axes=axes)


def unknown_layers(cell: Cell) -> Iterator[str]:
    """What of the cell's choice the layers of its model do not take, in words."""
    family, mode = architecture_of(cell), PEFT_MODES[cell.peft]
    if mode.adapters and family.no_adapters is not None:
        yield f"{family.no_adapters}; use peft full"
    if open_peft(cell.peft).packs and family.no_nf4 is not None:
        yield family.no_nf4
    if cell.kernels == "custom" and family.stock_only is not None:
        yield family.stock_only
    if LOSS_HEADS[cell.loss_head].means and family.stock_only is not None:
        change = family.stock_only.partition(",")[0]
        yield f"{change}, which loss_head {cell.loss_head} does not know; use loss_head own"
    engine = cell.rollout if METHODS[cell.method].rollouts else AXES["rollout"].default
    if engine != AXES["rollout"].default and cell.architecture not in ARCHITECTURES:
        yield f"rollout {engine} is tried with {', '.join(ARCHITECTURES)} only; use eager"
