"""SimPO: DPO's comparison of mean log-probs, without a ref_model."""

__all__ = ["SIMPO", "SimpoSettings", "SimpoStep"]

from dataclasses import asdict, dataclass

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses.simpo import simpo_loss
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class SimpoSettings:
    """Those of the authors' Llama-3-Base runs: a beta of 2.0, gamma half of it (their repository's
    ``training_configs/llama-3-8b-base-simpo.yaml``).
    """

    learning_rate: float = 1e-5
    beta: float = 2.0
    gamma: float = 1.0


class SimpoStep(PolicyStep, AccumulatingStep):
    """The policy of one cell."""

    def __init__(self, setup: Setup, settings: SimpoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.train(settings.learning_rate)

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over chosen and rejected rows."""
        with probe.phase("forward"):
            with self.setup.forward():
                logprobs = self.logprobs(self.policy, batch.ids, batch.where)
            loss, accuracy = simpo_loss(
                logprobs,
                batch.response_mask,
                beta=self.settings.beta,
                gamma=self.settings.gamma,
            )
            logprob = (logprobs * batch.response_mask).detach().sum() / batch.response_mask.sum()
        return self.trained(loss, batch, probe, metrics={"logprob": logprob}, accuracy=accuracy)


def _passes(cell: Cell, tally: Tally) -> None:
    tally.train(responses(cell))


SIMPO = Method(
    name="simpo",
    phases=("forward", "backward", "optimizer"),
    hyperparameters=asdict(SimpoSettings()),
    build=lambda setup: SimpoStep(setup, SimpoSettings()),
    passes=_passes,
)
