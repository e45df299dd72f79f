"""Optimizers: what steps the weights that train. One file each behind `base.OptimizerKind`."""

__all__ = ["OptimizerKind", "Stepped", "inner_matrices", "open_optimizer"]

from alignmeter.registry import OPTIMIZERS, load
from alignmeter.training.optimizers.base import OptimizerKind, Stepped, inner_matrices


def open_optimizer(name: str) -> OptimizerKind:
    """The optimizer of that name. Raises `InputError` for an unknown one."""
    kind: OptimizerKind = load(OPTIMIZERS, name)
    return kind
