"""Plans of 8B and 70B on one device and on many, as a page.

    python tests/trust/rank_plans.py --kept plans.json > page.md

Made of shallow traces where these are exact (`alignmeter.planner.layers`). Plans that ``--kept``
has are not made again: it may be stopped and started at any time.
"""

__all__ = ["main"]

import json
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path

import click
import msgspec
from large_plans import LLAMA, MODELS

from alignmeter.accelerators import devices_hidden
from alignmeter.analysis.chips import peaks
from alignmeter.analysis.offers import best_offer
from alignmeter.architectures.checkpoint import configs_alone
from alignmeter.planner import NotPlannedError, fits
from alignmeter.planner.layers import predict_peak
from alignmeter.records.prediction import Prediction
from alignmeter.session.resolve import Planned, resolve_cell
from alignmeter.units import bytes_text

METHODS, PEFTS, WORLDS = ("dpo", "ppo", "grpo"), ("full", "lora", "qlora"), (1, 2, 4, 8, 16, 72)
SHAPE = {"seq_len": 1024, "checkpointing": "on", "data": "synthetic", "accelerator": "cuda"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of one cell, or why there is none."""

    plan: Prediction | None = None
    reason: str = ""


def cell_of(config: Path, method: str, peft: str, size: int) -> Planned:
    """One pair of rows on each device; weights are shared out, PPO's models on one backbone."""
    axes = {**SHAPE, "model": str(config), "method": method, "peft": peft, "batch": size}
    if method == "ppo" and peft != "full":
        axes["ppo_topology"] = "shared"
    if size > 1:
        axes |= {"world_size": size, "parallel": "fsdp2", "rollout_weights": "gathered"}
    return resolve_cell(axes)


def planned(item: Planned) -> Found:
    """By tracing it."""
    if item.contradiction is not None:
        return Found(reason=item.contradiction.text)
    try:
        return Found(plan=predict_peak(item.cell))
    except NotPlannedError as error:
        return Found(reason=str(error))


def page(found: dict[str, Found]) -> Iterator[str]:
    """As Markdown. Names of plans: ``model method peft devices``."""
    yield from HEAD
    reasons: list[str] = []
    for model in MODELS_SHOWN:
        heads = [f"{size} device{'' if size == 1 else 's'}" for size in WORLDS]
        yield from ("", f"## {model}", "", f"| method | PEFT | {' | '.join(heads)} |")
        yield "|---|---|" + "---|" * len(WORLDS)
        for method, peft in product(METHODS, PEFTS):
            names = [f"{model} {method} {peft} {size}" for size in WORLDS]
            texts = [_text(found[name], reasons) if name in found else DASH for name in names]
            yield f"| {method} | {peft} | {' | '.join(texts)} |"
    if reasons:
        yield ""
    yield from (f"{number}. {text}" for number, text in enumerate(reasons, 1))


def _text(found: Found, reasons: list[str]) -> str:
    if found.plan is None:
        if found.reason not in reasons:
            reasons.append(found.reason)
        return f"no plan ({reasons.index(found.reason) + 1})"
    where = fits(found.plan, peaks())
    offer = best_offer(where, None)
    held = next((f"**{name}**" for name in BOXES if where[name].ok), None)
    chip = held or (offer.chip if offer else "nowhere")
    return f"{bytes_text(found.plan.peak_bytes)}: {chip}"


DASH = "\N{EM DASH}"
"""Not planned yet."""
MODELS_SHOWN = ("8B", "70B")
BOXES = ("L40S", "H100-SXM", "B200", "MI300X")
"""Chips that most rented boxes have, the smallest first."""
HEAD = (
    "# 8B and 70B on one device and on many",
    "",
    "How much does each of N devices hold, and which chip is large enough?",
    "",
    "What each device holds at its peak, by [plans](plan.md), and the smallest of four common",
    f"chips ({', '.join(BOXES)}) that holds it; where none of them does, the smallest of the",
    "[peaks table](peaks.md), not in bold. One pair of rows a device (the batch has as many pairs",
    "as there are devices), 1024 tokens of which 512 are the prompt's, checkpointing,",
    "`parallel = fsdp2`, weights gathered once for a rollout; PPO with adapters has all its models",
    "on one backbone, with all weights four models. Shapes are Llama 3.1's",
    "(https://arxiv.org/abs/2407.21783, table 3). Predictions of memory, none of them measured on",
    "a GPU; what NCCL keeps for itself is in the 1 GiB that [fits](plan.md) gives the runtime.",
    "",
    "- PPO with adapters needs more on each of two devices than on one: while responses are",
    "  sampled a device has the whole policy, and its share of the weights beside it; GRPO gains",
    "  little. `rollout_weights = sharded` gathers weights for each token instead.",
    "- DPO has no rollout, and what a device needs falls with their number (QLoRA of 8B from four",
    "  on).",
    "",
    f"Made by `python tests/trust/rank_plans.py --kept FILE`; {DASH} is not planned yet.",
    "What is sent, and how long that takes at least,",
    "`alignmeter plan --world-size 8 --parallel fsdp2 --batch 8` says of any of them.",
)


@click.command()
@click.option("--kept", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--only", default="", help="Make plans whose name has this in it, and no page.")
@click.option("--page-only", is_flag=True, help="Make none, and the page of those that are kept.")
def main(kept: Path, only: str, *, page_only: bool) -> None:
    """Make what is missing and print the page."""
    import_module("alignmeter.worker.preload")
    names = [" ".join(map(str, parts)) for parts in product(MODELS_SHOWN, METHODS, PEFTS, WORLDS)]
    stored = json.loads(kept.read_bytes()) if kept.is_file() else {}
    found = msgspec.convert(stored, dict[str, Found])
    with tempfile.TemporaryDirectory() as root, configs_alone(), devices_hidden():
        for name in names:
            if page_only or name in found or only not in name:
                continue
            model, method, peft, size = name.split()
            config = Path(root, f"{model}.json")
            config.write_text(json.dumps({**LLAMA, **MODELS[model]}))
            found[name] = planned(cell_of(config, method, peft, int(size)))
            kept.write_bytes(msgspec.json.encode(found))
            click.echo(name, err=True)
    if not only:
        sys.stdout.write("\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
