"""Rollout engines: what samples the responses of a step. One file each behind `base.Sampler`."""

__all__ = ["RolloutEngine", "Sampled", "Sampler", "open_engine"]

from alignmeter.registry import ROLLOUTS, load
from alignmeter.training.engines.base import RolloutEngine, Sampled, Sampler


def open_engine(name: str) -> RolloutEngine:
    """The engine of that name. Raises `InputError` for an unknown one."""
    engine: RolloutEngine = load(ROLLOUTS, name)
    return engine
