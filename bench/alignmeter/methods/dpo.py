"""DPO: two forwards over chosen and rejected answers, one backward."""

__all__ = ["DPO", "DpoSettings", "DpoStep"]

from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.losses import dpo_loss
from alignmeter.methods.base import Method, Outcome, Probe
from alignmeter.methods.logprobs import response_logprobs
from alignmeter.methods.setup import Setup


@dataclass(frozen=True, kw_only=True, slots=True)
class DpoSettings:
    """beta of the paper's experiments; a learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5
    beta: float = 0.1


class DpoStep:
    """Policy and ref_model of one cell."""

    def __init__(self, setup: Setup, settings: DpoSettings) -> None:
        self.setup = setup
        self.settings = settings
        self.policy = setup.policy()
        self.ref = setup.ref()
        self.optimizer = setup.optimizer(self.policy, learning_rate=settings.learning_rate)

    def models(self) -> dict[str, nn.Module]:
        """Policy, and the ref_model where it is resident."""
        return {"policy": self.policy} | ({} if self.ref is None else {"ref": self.ref})

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One."""
        return [self.optimizer]

    def _response_sums(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logprobs = response_logprobs(model, batch.ids, batch.prompt_len)
        return (logprobs * batch.response_mask).sum(1)

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One DPO step on 2B rows."""
        with probe.phase("ref_forward"), self.setup.as_ref(self.policy, self.ref) as ref:
            ref_sums = self._response_sums(ref, batch)
        with probe.phase("forward"):
            with self.setup.forward():
                sums = self._response_sums(self.policy, batch)
            loss, accuracy = dpo_loss(sums, ref_sums, beta=self.settings.beta)
        with probe.phase("backward"):
            loss.backward()
        with probe.phase("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        rows, seq_len = batch.ids.shape
        return Outcome(
            loss=loss.detach(),
            trained_tokens=batch.real_tokens,
            padded_tokens=rows * seq_len - batch.real_tokens,
            metrics={"accuracy": accuracy},
        )


DPO = Method(
    name="dpo",
    phases=("ref_forward", "forward", "backward", "optimizer"),
    hyperparameters=asdict(DpoSettings()),
    build=lambda setup: DpoStep(setup, DpoSettings()),
)
