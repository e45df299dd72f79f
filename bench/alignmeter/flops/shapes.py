"""The shape of a cell's models, from the table of its architecture or a checkpoint's config."""

__all__ = ["network_of", "shape_of"]

from collections.abc import Mapping
from functools import cache
from typing import Any

from alignmeter.architectures import open_architecture
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.cells.cell import Cell
from alignmeter.flops.blocks import BLOCKS
from alignmeter.flops.network import Network
from alignmeter.peft import open_peft


def shape_of(cell: Cell) -> Mapping[str, Any]:
    """Keys of the transformers config, those that a checkpoint leaves out at their defaults."""
    if cell.model != RANDOM:
        return _checkpoint_shape(cell.model)
    return open_architecture(cell.architecture).shape(cell.size)


@cache
def _checkpoint_shape(model: str) -> Mapping[str, Any]:
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(find_checkpoint(model).folder, trust_remote_code=False)
    shape: dict[str, Any] = config.to_dict()
    return shape


def network_of(cell: Cell) -> Network:
    """The models of a cell: all have one shape, and those that train do so in one way."""
    shape = shape_of(cell)
    adapters = open_peft(cell.peft).adapters
    return Network(
        block=BLOCKS[cell.architecture](shape),
        layers=shape["num_hidden_layers"],
        width=shape["hidden_size"],
        vocab=shape["vocab_size"],
        rank=cell.lora_rank if adapters else 0,
        targets=open_architecture(cell.architecture).lora_targets if adapters else (),
    )
