"""SFT: one forward and one backward over demonstrations, the chosen answers of 2B pairs."""

__all__ = ["SFT", "SftSettings", "SftStep"]

from dataclasses import asdict, dataclass

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses import sft_loss
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class SftSettings:
    """A learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5


class SftStep(PolicyStep):
    """The policy of one cell."""

    rows = "chosen"

    def __init__(self, setup: Setup, settings: SftSettings) -> None:
        super().__init__(setup)
        self.train(settings.learning_rate)

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over rows of demonstrations."""
        with probe.phase("forward"):
            with self.setup.forward():
                logprobs = self.logprobs(self.policy, batch.ids, batch.where)
            loss = sft_loss(logprobs, batch.response_mask)
        return self.finished(loss, batch, probe, share=self.token_share(batch))


def _passes(cell: Cell, tally: Tally) -> None:
    tally.train(responses(cell))


SFT = Method(
    name="sft",
    phases=("forward", "backward", "optimizer"),
    rows="chosen",
    hyperparameters=asdict(SftSettings()),
    build=lambda setup: SftStep(setup, SftSettings()),
    passes=_passes,
)
