"""How long one replicate may take: what was asked for, or what its size takes to build."""

__all__ = ["time_limit_s"]

from functools import cache

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures import open_architecture
from alignmeter.architectures.base import drawing_device
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.cells.settings import Settings
from alignmeter.registry import METHODS, ROLLOUTS
from alignmeter.worker.agreement import sliced_layers

_STEPS_S = 600.0
"""All steps, all that is read beside them, and models of `WHOLE_SIZES`."""
_DRAWN_PER_S = 25e6
"""Weights that one thread draws, at the least: 53 million per s on one core of an AMD EPYC."""
_READ_PER_S = 200e6
"""Bytes that a disk gives, at the least."""
_COMPILED_BLOCK_S = 20.0
"""At the most: four blocks of a Mamba took 46 s on one busy core, three of a llama 16 s."""
_BACKBONES = 4
"""PPO's policy, ref, reward and value model; no method has more."""


def time_limit_s(cell: Cell, settings: Settings) -> float:
    """Seconds that one replicate of ``cell`` may take, and its reference as many.

    Raises `InputError` for a checkpoint that is not there.
    """
    if settings.timeout_s is not None:
        return settings.timeout_s
    return float(round(_STEPS_S + _build_s(cell) + _compile_s(cell)))


def _compile_s(cell: Cell) -> float:
    """What a rollout engine that compiles takes for the model's blocks, one after the other."""
    if not (METHODS[cell.method].rollouts and ROLLOUTS[cell.rollout].compiled):
        return 0.0
    if cell.model != RANDOM:
        return _COMPILED_BLOCK_S * find_checkpoint(cell.model).layers
    shape = open_architecture(cell.architecture).shape(cell.size)
    return _COMPILED_BLOCK_S * int(shape["num_hidden_layers"])


@cache
def _build_s(cell: Cell) -> float:
    """What the host draws or reads of large models; a device draws its own in no time."""
    taught, layers = as_teacher(cell), sliced_layers(cell)
    alone = 0.0 if taught is cell else _weights_s(taught, layers)
    return _weights_s(cell, layers) + alone


def _weights_s(cell: Cell, layers: int | None) -> float:
    device = open_accelerator(cell.accelerator)
    if cell.model != RANDOM:
        found = find_checkpoint(cell.model)
        if found.drawn:
            whole = found.drawing_device(layers=None, device_type=device.device_type) == "cpu"
            share = (layers or 0) / found.layers + whole
            return _BACKBONES * share * found.parameters / _DRAWN_PER_S
        files = found.files
        reads = 1 if layers is None else 2
        return reads * sum(file.stat().st_size for file in files) / _READ_PER_S
    if layers is None:
        return 0.0
    family = open_architecture(cell.architecture)
    drawn = family.parameters(cell.size, layers)
    if drawing_device(cell.size, layers=None, device_type=device.device_type) == "cpu":
        drawn += family.parameters(cell.size)
    return _BACKBONES * drawn / _DRAWN_PER_S
