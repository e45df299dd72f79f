"""What a pass is given to do: tokens, pairs of them that meet, and those that heads read."""

__all__ = ["Work", "decoding", "responses", "sequences"]

from dataclasses import dataclass, replace

from alignmeter.cells.cell import Cell
from alignmeter.registry import LOSS_HEADS, row_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What one model is given. ``pairs``: of a query and a key, in one layer and head.

    ``masked``: those of them whose key comes after its query, which the causal mask throws away.
    ``logits``: tokens that the LM head reads. ``scores``: tokens that a scalar head reads.
    ``calls``: of the model, one after the other; ``cached``: each reads what a cache holds of the
    tokens before.
    """

    tokens: int
    pairs: int
    masked: int = 0
    logits: int = 0
    scores: int = 0
    calls: int = 1
    cached: bool = False

    @property
    def causal(self) -> "Work":
        """The same without the pairs that are masked: what a kernel cannot leave out."""
        return replace(self, pairs=self.pairs - self.masked, masked=0)


def sequences(rows: int, length: int, *, logits: int = 0, scored: bool = False) -> Work:
    """Whole sequences: ``logits`` tokens of each row reach the LM head, all of them a scalar head.

    Every query meets every key, as in PaLM's formula; half of them less the diagonal are masked.
    """
    return Work(
        tokens=rows * length,
        pairs=rows * length**2,
        masked=rows * length * (length - 1) // 2,
        logits=rows * logits,
        scores=rows * length if scored else 0,
    )


def decoding(rows: int, prompt: int, length: int) -> Work:
    """Tokens fed one by one to a model that keeps a cache: the last one sampled never is."""
    fed = range(prompt, length - 1)
    pairs = sum(position + 1 for position in fed)
    return Work(
        tokens=rows * len(fed),
        pairs=rows * pairs,
        logits=rows * len(fed),
        calls=len(fed),
        cached=True,
    )


def responses(cell: Cell) -> Work:
    """The cell's rows, the log-probs of their responses asked for."""
    return sequences(cell.step_rows, cell.seq_len, logits=logit_tokens(cell))


def logit_tokens(cell: Cell, wanted: int | None = None) -> int:
    """Tokens of a row that the LM head reads where log-probs of ``wanted`` are asked for, by
    default of the response: all of them with some heads.
    """
    if row_of(LOSS_HEADS, cell.loss_head).every_token:
        return cell.seq_len
    return cell.seq_len - cell.prompt_len if wanted is None else wanted
