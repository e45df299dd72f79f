"""``python tests/trust/rollouts.py``: what a cache and a compiler save of a rollout, on this CPU.

Each comparison is between two ways to sample the same tokens with one policy, in turns within one
process, as CPU time of the calling thread: figures of a busy machine's wall clock would be those of
its other work. A table of medians and of their ratio with its 95 % interval is printed. Issue 18
asks for 5 (cached against recomputed, 256 new tokens) and 1.5 (compiled Mamba against eager).

It takes about five minutes on one core; ``--rounds`` and ``--new-tokens`` make it shorter.
"""

__all__ = ["Comparison", "compared", "main", "recomputed"]

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from alignmeter.analysis.intervals import Estimate, paired_ratio
from alignmeter.cells.cell import Cell
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.engines import open_engine
from alignmeter.training.rollout import Asked
from alignmeter.training.setup import open_setup
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
Sample = Callable[[], torch.Tensor]
"""One rollout: ids [R, P+N]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """CPU seconds of one rollout, medians; ``gain``: how many times as fast the second one is.

    ``same``: the share of tokens that both drew alike. ``ready_s``: what the second one did once.
    """

    name: str
    base_s: float
    new_s: float
    gain: Estimate
    same: float
    ready_s: float

    def text(self) -> str:
        """One line."""
        bounds = f"{self.gain.low:.2f} to {self.gain.high:.2f}" if self.gain.low else "no interval"
        return (
            f"{self.name}: {self.base_s:.3f} s -> {self.new_s:.3f} s, {self.gain.value:.2f} times "
            f"as fast ({bounds}, {self.gain.n} rounds), {100 * self.same:.0f} % of the tokens the "
            f"same, ready in {self.ready_s:.1f} s"
        )


def recomputed(policy: nn.Module, prompts: torch.Tensor, new_tokens: int) -> torch.Tensor:
    """The rollout without a cache: a pass over all tokens so far for each new one."""
    ids, generator = prompts, torch.Generator().manual_seed(0)
    model: Any = policy.eval()
    for _ in range(new_tokens):
        output = model(input_ids=ids, use_cache=False, logits_to_keep=1)
        probabilities = output.logits[:, -1].float().softmax(-1)
        ids = torch.cat([ids, torch.multinomial(probabilities, 1, generator=generator)], dim=1)
    return ids


def _sampler(cell: Cell, policy: nn.Module, prompts: torch.Tensor, name: str) -> Sample:
    """Rollouts of one engine, which is ready."""
    sampler = open_engine(name).open(cell)
    sampler.prepare(policy, prompts, SilentProbe())

    def sample() -> torch.Tensor:
        asked = Asked(
            prompts=prompts,
            new_tokens=cell.seq_len - cell.prompt_len,
            generator=torch.Generator().manual_seed(0),
        )
        return sampler.sample(policy, asked, SilentProbe()).ids

    return sample


def compared(name: str, base: Sample, new: Sample, *, rounds: int, ready_s: float) -> Comparison:
    """Both in turns, each first in every other round."""
    ids = base(), new()
    times: dict[Sample, list[float]] = {base: [], new: []}
    for number in range(rounds):
        for sample in (base, new) if number % 2 else (new, base):
            start = time.thread_time()
            sample()
            times[sample].append(time.thread_time() - start)
    return Comparison(
        name=name,
        base_s=statistics.median(times[base]),
        new_s=statistics.median(times[new]),
        gain=paired_ratio(times[base], times[new]),
        same=float((ids[0] == ids[1]).float().mean()),
        ready_s=ready_s,
    )


def _ready(cell: Cell) -> tuple[nn.Module, torch.Tensor]:
    setup = open_setup(cell, CPU, seed=0)
    generator = torch.Generator().manual_seed(1)
    shape = 2 * cell.batch, cell.prompt_len
    return setup.policy(), torch.randint(3, setup.vocab_size, shape, generator=generator)


def _cell(architecture: str, new_tokens: int) -> Cell:
    axes = {
        "method": "grpo", "architecture": architecture, "accelerator": "cpu", "data": "synthetic",
        "seq_len": 32 + new_tokens, "prompt_len": 32,
    }  # fmt: skip
    return resolve_cell(axes).cell


def _of_architecture(architecture: str, new_tokens: int, rounds: int) -> None:
    cell = _cell(architecture, new_tokens)
    policy, prompts = _ready(cell)
    eager = _sampler(cell, policy, prompts, "eager")

    def again() -> torch.Tensor:
        return recomputed(policy, prompts, new_tokens)

    few = max(3, rounds // 3)  # the slowest by far, and the largest gain
    found = compared(f"{architecture} recomputed -> eager", again, eager, rounds=few, ready_s=0.0)
    _say(found)
    for engine in ("static", "compiled"):
        start = time.perf_counter()
        sample = _sampler(cell, policy, prompts, engine)
        ready_s = time.perf_counter() - start
        name = f"{architecture} eager -> {engine}"
        _say(compared(name, eager, sample, rounds=rounds, ready_s=ready_s))


def _say(found: Comparison) -> None:
    sys.stdout.write(found.text() + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparisons of each architecture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", nargs="+", default=["llama", "mamba", "mamba2"])
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the calling thread's time is then all of it
    with torch.no_grad():
        for architecture in chosen.architecture:
            _of_architecture(architecture, chosen.new_tokens, chosen.rounds)


if __name__ == "__main__":
    main()
