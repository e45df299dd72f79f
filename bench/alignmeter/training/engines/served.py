"""An engine beside torch: a server with weights, cache and memory of its own."""

__all__ = ["ServedSampler", "Server"]

from typing import Protocol

import torch
from torch import nn

from alignmeter.peft.adapters import Weights, merged_weights
from alignmeter.training.engines.base import Sampled, Sampler
from alignmeter.training.rollout import Asked
from alignmeter.training.step import Probe

_SEEDS = 2**31
"""A server is given a seed below it for each rollout, drawn by the step's own generator."""


class Server(Protocol):
    """What samples, in whatever process and environment it wants.

    Tensors that it is given and that it gives are on the policy's device. What it holds of the
    device is no tensor of this process: a record has it as the device's memory in use less torch's.
    """

    def start(self, policy: nn.Module, *, rows: int, positions: int) -> None:
        """Be ready for ``rows`` sequences of at most ``positions`` tokens of a model of this shape.

        Raises `CellError` if it cannot start.
        """
        ...

    def load(self, weights: Weights) -> None:
        """Take these weights, named as the model without adapters names them."""
        ...

    def sample(
        self, prompts: torch.Tensor, *, new_tokens: int, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``new_tokens`` tokens at temperature 1 after ``prompts`` [R, P], whatever ends a text.

        Returns ids [R, N] and the log-prob of each [R, N] in fp32.
        """
        ...

    def cache_bytes(self) -> tuple[int, int]:
        """Of its cache in the last rollout: reserved, and of them those that held something."""
        ...


class ServedSampler(Sampler):
    """A `Server`, started before the first step and given the policy's weights before each rollout.

    Phases: ``engine_start`` once, ``weight_sync`` and ``rollout`` in each step.
    """

    def __init__(self, server: Server, *, positions: int) -> None:
        self._server, self._positions = server, positions

    def prepare(self, policy: nn.Module, prompts: torch.Tensor, probe: Probe) -> None:
        """Start the server."""
        with probe.phase("engine_start"):
            self._server.start(policy, rows=len(prompts), positions=self._positions)

    def synchronise(self, policy: nn.Module, probe: Probe) -> None:
        """Hand over the weights of now, adapters merged into what they adapt."""
        with probe.phase("weight_sync"):
            self._server.load(merged_weights(policy))

    def sample(self, policy: nn.Module, asked: Asked, probe: Probe) -> Sampled:
        """As the protocol's, with the server's log-probs."""
        prompts, generator = asked.prompts, asked.generator
        seed = int(torch.randint(_SEEDS, (), generator=generator, device=generator.device))
        tokens, logprobs = self._server.sample(prompts, new_tokens=asked.new_tokens, seed=seed)
        reserved, used = self._server.cache_bytes()
        probe.uses("rollout_cache", (used,), beside=reserved)
        return Sampled(ids=torch.cat([prompts, tokens], dim=1), logprobs=logprobs)
