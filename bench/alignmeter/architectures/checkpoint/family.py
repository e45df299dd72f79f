"""A family without a file of its own: what its model's layers say may be adapted and packed."""

__all__ = ["other_config", "other_family"]

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.base import Architecture, Shape
from alignmeter.architectures.checkpoint.config import made, open_config
from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.architectures.checkpoint.trial import Trial, tried
from alignmeter.architectures.logits import cap_of
from alignmeter.architectures.transformers_internals import masked_lms
from alignmeter.registry import ARCHITECTURES, load

_ROUTERS = ("gate", "router", "shared_expert_gate")
"""Linear layers that choose experts. They are neither adapted nor quantised."""
_EXPERTS = ("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
"""Names that peft turns into those of experts where a family's lie in one tensor (peft 0.21,
``_MOE_TARGET_MODULE_MAPPING``): it would adapt these, and not the layers that are called so.
"""
_STATE = "A_log"
"""The parameter that marks a state-space mixer."""
_CALLED = "in_proj"
"""What the linear layers of such a mixer begin with that every path calls: fused kernels read the
weights of the others."""


def other_config(path: Path, model: str) -> Any:
    """transformers' config of such a family.

    Raises `InputError` where it makes none, and where it is of no language model alone.
    """
    try:
        config = open_config(path)
    except Exception as error:  # whatever a config can make transformers stumble over
        raise refused(model, f"config.json makes no model: {one_line(error)}") from error
    if config.get_text_config() is not config:
        raise refused(
            model,
            f"a {config.model_type} is more than a language model; give its text_config as a "
            "config.json of its own",
        )
    if config.model_type in masked_lms() and getattr(config, "is_decoder", True) is False:
        raise refused(
            model,
            f"a {config.model_type} is no decoder with this config.json: its tokens see those "
            "after them; set is_decoder to true, if it is one",
        )
    return config


def other_family(config: Any, model: str) -> tuple[nn.Module, Architecture]:
    """The model of `other_config` on torch's meta device, and its family.

    Raises `InputError` where it is none that a step could take.
    """
    try:
        with torch.device("meta"):
            # What experts compute has no shape without data in another dtype (torch 2.13).
            built: Any = made(config, dtype=torch.bfloat16)
    except Exception as error:  # whatever a config can make transformers and torch stumble over
        raise refused(model, f"config.json makes no model: {one_line(error)}") from error
    return built, _family(built, tried(built, model))


def _family(built: Any, trial: Trial) -> Architecture:
    kind = built.config.model_type
    targets = _targets(built, trial)
    linear = {name for name, _ in _linear(built)}
    module = sys.modules[type(built).__module__]
    rows = [load(ARCHITECTURES, name) for name in ARCHITECTURES]
    known = [row for row in rows if _scan(row) and _scan(row) <= set(dir(module))]
    return Architecture(
        name=kind,
        shapes={},
        make=_without_sizes,
        modeling=module.__name__,
        checkpoints=(kind,),
        lora_targets=targets,
        nf4_skip=(*sorted(linear - set(targets)), "score"),
        operators=known[0].operators if known else {},
        vendor=known[0].vendor if known else None,
        no_adapters=None if targets else f"{kind} has no linear layers in its blocks to adapt",
        no_nf4=_unquantised(built),
        stock_only=_unknown_to_kernels(built),
    )


def _without_sizes(_: Shape) -> nn.Module:
    raise NotImplementedError("a family without a file of its own has no sizes")


def _scan(row: Architecture) -> set[str]:
    """Functions of its modelling module that only modules with such layers have."""
    return {name for name in row.operators if name.startswith(row.name)}


def _linear(built: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in built.named_modules():
        if type(module) is nn.Linear:
            yield name.rpartition(".")[2], module


def _targets(built: Any, trial: Trial) -> tuple[str, ...]:
    """Last names of the linear layers of its blocks, in their order, of which all are called.

    Names that are numbers would match a block of that number.
    """
    mixers = [m for m in built.modules() if hasattr(m, _STATE)]
    raw = {
        layer for mixer in mixers for name, layer in _linear(mixer) if not name.startswith(_CALLED)
    }
    spared = raw | {built.get_output_embeddings()}
    names = dict.fromkeys(name for name, _ in _linear(built))
    unfit = {n for n, layer in _linear(built) if layer in spared or layer not in trial.called}
    unfit.update(_ROUTERS, _EXPERTS if _stacked(built) else ())
    return tuple(n for n in names if n not in unfit and not n.isdigit())


def _stacked(built: nn.Module) -> dict[str, int]:
    """Kind of module -> number of weights, where experts' matrices lie in one tensor."""
    found: dict[str, int] = {}
    for module in built.modules():
        for weight in module.parameters(recurse=False):
            if weight.dim() == 3 and not isinstance(module, nn.Conv1d):
                kind = type(module).__name__
                found[kind] = found.get(kind, 0) + weight.numel()
    return found


def _unquantised(built: nn.Module) -> str | None:
    """Why NF4 would leave most of it as it is."""
    stacked = _stacked(built)
    if not stacked:
        return None
    share = sum(stacked.values()) / sum(weight.numel() for weight in built.parameters())
    return (
        f"{share:.0%} of its weights are experts in one tensor ({', '.join(stacked)}), which "
        "bitsandbytes does not quantise; use lora"
    )


def _unknown_to_kernels(built: Any) -> str | None:
    cap, change = cap_of(built.config), None
    if cap is not None:
        change = f"caps its logits at {cap:g}"
    elif built.get_output_embeddings().bias is not None:
        change = "has an output head with a bias"
    if change is None:
        return None
    kind = built.config.model_type
    return f"a {kind} {change}, which linear_logprob does not know; use kernels stock"
