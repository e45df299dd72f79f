"""``python tests/trust/batching.py``: what rows of like length in a batch are worth.

DPO steps on rows as long as HH-RLHF's, padded to the batch's longest and bucketed, in turns: blocks
of a few batches of the one and then of the other. Trained tokens per s of a block are its tokens
over its seconds. Prints the medians over blocks, and the ratio of the two with its 95 % interval.
"""

__all__ = ["Rates", "main", "measured"]

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from alignmeter.analysis.intervals import ratio
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Trained tokens per s, a figure for each block."""

    padded: list[float]
    bucketed: list[float]


def _steps(batching: str, batch: int, seq_len: int) -> Callable[[int], tuple[int, float]]:
    """A function of a step's number that takes it: trained tokens, and seconds."""
    axes = {"accelerator": "cpu", "data": "lengths:hh", "batching": batching}
    cell = resolve_cell({**axes, "batch": batch, "seq_len": seq_len}).cell
    setup, method = open_setup(cell, _CPU, seed=0), open_method(cell.method)
    source, step = open_batches(cell, vocab_size=setup.vocab_size, seed=0), method.build(setup)

    def take(number: int) -> tuple[int, float]:
        taken = source.take(number, _CPU, method.rows)
        start = time.perf_counter()
        outcome = step.run(taken, SilentProbe())
        outcome.loss.item()
        return outcome.trained_tokens, time.perf_counter() - start

    return take


def measured(batch: int, *, seq_len: int, blocks: int, steps: int) -> Rates:
    """Both in turns, after a step of each that is not counted."""
    sides = {name: _steps(name, batch, seq_len) for name in ("padded", "bucketed")}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for take in sides.values():
        take(0)
    for block in range(blocks):
        for name in (*sides,) if block % 2 else (*reversed(sides),):
            numbers = range(1 + block * steps, 1 + (block + 1) * steps)
            tokens, seconds = zip(*map(sides[name], numbers), strict=True)
            rates[name].append(sum(tokens) / sum(seconds))
    return Rates(**rates)


def main() -> None:
    """A line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    for batch in (2, 8):
        rates = measured(batch, seq_len=options.seq_len, blocks=options.blocks, steps=options.steps)
        found = ratio(rates.bucketed, rates.padded)
        interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
        print(  # noqa: T201 - a script's output
            f"B {batch}: padded {statistics.median(rates.padded):.0f}, bucketed "
            f"{statistics.median(rates.bucketed):.0f} trained tokens per s: "
            f"{found.value:.2f}x{interval}"
        )


if __name__ == "__main__":
    main()
