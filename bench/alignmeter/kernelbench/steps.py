"""A whole training step with this project's kernels beside the same step without them."""

__all__ = ["STEP_BASELINES", "compare_step", "step_runner"]

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.base import Accelerator
from alignmeter.architectures import open_architecture
from alignmeter.batches import Batch, open_batches
from alignmeter.cells.cell import Cell
from alignmeter.kernelbench.compare import Comparison
from alignmeter.methods import TrainingStep, open_method, open_setup
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

STEP_BASELINES: dict[str, str | None] = {"transformers": None, "mambapy": "mambapy"}
"""Baseline -> the module that must be importable."""
_TOLERANCE = 1e-4
"""Of the loss: two summation orders over a thousand tokens in fp32."""


def compare_step(
    method: str, architecture: str, seq_len: int, baseline: str, *, accelerator: Accelerator
) -> Comparison:
    """A step of ``method`` at tiny, custom kernels beside stock ones; same weights, same batch.

    Raises:
        AssertionError: if the two losses of the first step differ.
        KeyError: for an unknown baseline.
        ModuleNotFoundError: if the baseline's module is not installed.
    """
    theirs = step_runner(method, architecture, seq_len, baseline, accelerator=accelerator)
    ours = step_runner(method, architecture, seq_len, None, accelerator=accelerator)
    apart = abs(float(ours()) - float(theirs()))
    if not apart <= _TOLERANCE:
        raise AssertionError(f"the losses of the first step are {apart:.2e} apart")
    return Comparison(ours=ours, theirs=theirs, accelerator=accelerator)


def step_runner(
    method: str,
    architecture: str,
    seq_len: int,
    baseline: str | None,
    *,
    accelerator: Accelerator,
) -> Callable[[], torch.Tensor]:
    """A function that takes one step on a fixed batch and returns its loss, a scalar on the device.

    ``baseline``: stock kernels in that variant; ``None``: custom ones. Raises `KeyError` for an
    unknown baseline, `ModuleNotFoundError` if its module is not installed.
    """
    module = None if baseline is None else STEP_BASELINES[baseline]
    if module is not None and find_spec(module) is None:
        raise ModuleNotFoundError(f"{module} is not installed")
    kernels = "custom" if baseline is None else "stock"
    axes: dict[str, str | int] = {
        "method": method, "architecture": architecture, "seq_len": seq_len, "data": "synthetic",
        "batch": 1, "accelerator": accelerator.name, "kernels": kernels,
    }  # fmt: skip
    step, batch = _built(resolve_cell(axes).cell)
    if module is not None:
        _use_mambapy(step)
    return _runner(architecture, kernels, step, batch)


def _built(cell: Cell) -> tuple[TrainingStep, Batch]:
    device = open_accelerator(cell.accelerator).torch_device()
    setup = open_setup(cell, device, seed=0)
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    method = open_method(cell.method)
    return method.build(setup), batches.take(0, device, method.rows)


def _use_mambapy(step: TrainingStep) -> None:
    for model in step.models().values():
        mixers: list[Any] = [part for part in model.modules() if hasattr(part, "use_mambapy")]
        for mixer in mixers:
            mixer.use_mambapy = True


def _runner(
    architecture: str, kernels: str, step: TrainingStep, batch: Batch
) -> Callable[[], torch.Tensor]:
    family = open_architecture(architecture)

    def run() -> torch.Tensor:
        family.use_kernels(kernels)  # both sides live in one process and take turns
        return step.run(batch, SilentProbe()).loss.detach()

    return run
