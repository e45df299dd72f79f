"""Steps that train one policy with one optimizer: what SFT, DPO, GRPO and their kin share."""

__all__ = ["PolicyStep"]

import torch
from torch import nn

from alignmeter.batches import Batch, Where
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.setup import Setup
from alignmeter.training.step import TrainingStep


class PolicyStep(TrainingStep):
    """The policy of one cell. A method builds what stands beside it, then calls `train`."""

    setup: Setup
    ref: nn.Module | None = None
    optimizer: torch.optim.Optimizer

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.policy = setup.policy()

    def train(self, learning_rate: float) -> None:
        """Share the models out over the ranks and make the optimizer.

        From here on the untrained weights are copied no more.
        """
        self.setup.shard(self.models())
        self.optimizer = self.setup.optimizer(self.policy.parameters(), learning_rate=learning_rate)

    def models(self) -> dict[str, nn.Module]:
        """Policy, and the ref_model where it is resident."""
        return {"policy": self.policy} | ({} if self.ref is None else {"ref": self.ref})

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One."""
        return [self.optimizer]

    def logprobs(self, model: nn.Module, ids: torch.Tensor, where: Where) -> torch.Tensor:
        """Log-prob [R, N] of each response token of ``ids`` [R, L] under ``model``."""
        cell = self.setup.cell
        return response_logprobs(model, ids, where, kernels=cell.kernels, head=cell.loss_head)

    def response_sums(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Log-prob [R] of each whole response."""
        logprobs = self.logprobs(model, batch.ids, batch.where)
        return (logprobs * batch.response_mask).sum(1)
