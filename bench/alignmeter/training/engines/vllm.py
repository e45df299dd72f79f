"""vLLM (https://docs.vllm.ai), which samples in a process and an environment of its own."""

__all__ = ["VLLM"]

from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError
from alignmeter.training.engines.base import RolloutEngine, Sampler


def _missing(_: Cell) -> str:
    """Its wheel of 2026-11 wants torch 2.14 and transformers below 5.21, each to the digit."""
    return (
        "vLLM wants a torch and a transformers of its own, hence an environment of its own, and "
        "this version starts no server there; use rollout = eager, static or compiled"
    )


def _open(cell: Cell) -> Sampler:
    raise CellError("unsupported", "library_missing", _missing(cell))


VLLM = RolloutEngine(name="vllm", open=_open, missing=_missing)
