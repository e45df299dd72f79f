"""Methods that sample answers: what their axes contradict, and what their passes cost."""

__all__ = ["contradictions", "fresh_tokens", "judging", "sampled"]

from collections.abc import Iterator

from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, decoding, sequences


def contradictions(cell: Cell) -> Iterator[str]:
    """Of the axes of GRPO and RLOO."""
    if (2 * cell.batch) % cell.group:
        yield f"{2 * cell.batch} sequences a step are no whole number of groups of {cell.group}"
    yield from fresh_tokens(cell)


def fresh_tokens(cell: Cell) -> Iterator[str]:
    """Of the ref_model of a method that samples."""
    if cell.ref == "precomputed":
        yield (
            f"{cell.method.upper()}'s tokens are new in every step, their ref log-probs cannot be "
            "precomputed; use resident or adapter-off"
        )


def sampled(cell: Cell, tally: Tally) -> None:
    """The rollout: prompts at once, then token by token."""
    rows = 2 * cell.batch
    tally.infer("rollout", sequences(rows, cell.prompt_len, logits=1), adapted=True)
    tally.infer("rollout", decoding(rows, cell.prompt_len, cell.seq_len), adapted=True)


def judging(cell: Cell, tally: Tally) -> None:
    """The reward model's pass, where one judges."""
    if cell.reward == "model":
        tally.infer("reward", sequences(2 * cell.batch, cell.seq_len, scored=True), adapted=False)
