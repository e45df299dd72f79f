"""Whether the tensors of a checkpoint are those of its model: loaded once more, without data.

transformers itself takes the headers for weights on torch's meta device, so that its own rules say
which names are the same, which are tied and which extras it ignores.
"""

__all__ = ["LAYER", "check_depth", "check_fit", "check_made", "loading_options", "made_within"]

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.checkpoint.config import made, open_config
from alignmeter.architectures.checkpoint.files import Tensor, equal
from alignmeter.architectures.checkpoint.ranges import check_positions, check_ranges
from alignmeter.architectures.checkpoint.refusal import named, one_line, refused
from alignmeter.architectures.checkpoint.trial import check_runs
from alignmeter.errors import InputError
from alignmeter.streams import quiet
from alignmeter.text import counted

_FLOATS = frozenset(("F32", "F16", "BF16"))
_WRAPPERS = ("base_model.model.", "module.", "_orig_mod.", "model.", "policy.", "actor.")
"""What peft, DataParallel, torch.compile and trainers put before the names of a model they wrap."""
_HEADS = re.compile(r"(^|\.)(score|v_head|value_head|classifier|reward_head|regression_head)\b")
LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,9})\.")
"""Finds the number of the layer that a tensor is of in its name."""


def loading_options() -> dict[str, Any]:
    """Keyword arguments of every load: what did not fit is told, and the caller raises."""
    return {"output_loading_info": True, "ignore_mismatched_sizes": True}


def check_depth(layers: int, tensors: Mapping[str, Tensor], model: str) -> None:
    """Raise `InputError` if config.json wants more layers than the files have tensors of.

    A model of as many as it likes would take for ever, without data too.
    """
    held = {int(found[1]) for name in tensors if (found := LAYER.search(name))}
    if layers > len(held):
        lost = next(layer for layer in range(layers) if layer not in held)
        raise refused(
            model,
            f"config.json: num_hidden_layers is {layers}, but the files hold "
            f"{counted(len(held), 'layer')} and nothing of layer {lost}; {_NEVER}",
        )


def made_within(path: Path, model: str, activations: Sequence[str]) -> nn.Module:
    """The model of a config.json on torch's meta device. ``activations``: as for `check_ranges`.

    Raises `InputError` for a field out of its range, and a config that makes no model.
    """
    try:
        config = open_config(path)
        check_ranges(config, activations, model)
        with torch.device("meta"):
            return made(config)
    except InputError:
        raise
    except Exception as error:  # whatever a config can make transformers and torch stumble over
        raise refused(model, f"config.json makes no model: {one_line(error)}") from error


def check_made(built: Any, path: Path, model: str, *, part: bool) -> None:
    """Raise `InputError` for a config.json whose model cannot run. ``part``: as there."""
    check_positions(built, built.config, model, part=part)
    check_runs(path, model)


def check_fit(built: Any, tensors: Mapping[str, Tensor], model: str) -> None:
    """Raise `InputError` for the first tensor that is missing, extra or of a wrong shape or dtype,
    and for a config.json that ties what the file has apart.
    """
    config = built.config
    missing, extra, misshapen = _load(built, config, tensors, model)
    if missing or extra:
        raise refused(model, _unlike(missing, extra, tensors, config))
    if misshapen:
        raise refused(model, _misshapen(misshapen, config))
    taken = set(built.state_dict())
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS and name in taken:
            raise refused(
                model,
                f"{named(name)} in {named(tensor.file.name)} is {tensor.dtype}; want F32, F16 or "
                "BF16: quantised and other weights are not read",
            )
    _check_tie(built, tensors, model)


_Misshapen = list[tuple[str, tuple[int, ...], tuple[int, ...]]]


def _load(
    built: nn.Module, config: Any, tensors: Mapping[str, Tensor], model: str
) -> tuple[list[str], list[str], _Misshapen]:
    """Names that are missing, those that are extra, and (name, stored shape, wanted shape).

    Of tied matrices that are all missing only the one that the others follow counts.
    """
    empty = {name: torch.empty(t.shape, device="meta") for name, t in tensors.items()}
    loads: Any = type(built)
    try:
        with quiet():
            _, info = loads.from_pretrained(
                None, config=config, state_dict=empty, device_map={"": "meta"}, **loading_options()
            )
    except Exception as error:  # transformers' own errors have no common class
        raise refused(model, f"its tensors do not load: {one_line(error)}") from error
    misshapen = [(n, tuple(found), tuple(wanted)) for n, found, wanted in info["mismatched_keys"]]
    return (
        sorted(set(info["missing_keys"]) & _own(built), key=_ordered),
        sorted(info["unexpected_keys"], key=_ordered),
        sorted(misshapen),
    )


def _own(built: nn.Module) -> set[str]:
    """Names of parameters and buffers, a shared one under its first."""
    return {name for name, _ in (*built.named_parameters(), *built.named_buffers())}


def _ordered(name: str) -> list[int | str]:
    """A key that puts layer 10 behind layer 9."""
    return [(int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)]


def _unlike(
    missing: Sequence[str], extra: Sequence[str], tensors: Mapping[str, Tensor], config: Any
) -> str:
    prefix = _prefix(missing, tensors)
    if prefix is not None:
        name = next(name for name in tensors if name.startswith(prefix))
        return (
            f"its names begin with {prefix!r} ({named(name)}), as of a wrapped model; save the "
            "model inside, or rename them"
        )
    head = next((name for name in extra if _HEADS.search(name)), None)
    if head is not None:
        return (
            f"{named(head)} is the head of a reward, value or classifier model; give the causal LM "
            "that it was made from"
        )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{named(missing[0])}{more} not in the files{_depth(missing, config)}; {_NEVER}"
    more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
    file = named(tensors[extra[0]].file.name) if extra[0] in tensors else "the files"
    return (
        f"{named(extra[0])}{more} in {file} not of a {config.model_type} with this "
        f"config.json{_depth(extra, config)}"
    )


_NEVER = "weights that are not in a file are not made up"


def _prefix(missing: Sequence[str], tensors: Mapping[str, Tensor]) -> str | None:
    """What stands before each name that is missing."""
    for prefix in _WRAPPERS:
        if missing and all(prefix + name in tensors for name in missing):
            return prefix
    return None


def _depth(names: Sequence[str], config: Any) -> str:
    """A hint where whole layers are apart: the count in config.json is then the other one."""
    layers = [int(found[1]) for name in names if (found := LAYER.search(name))]
    every = len(layers) == len(names) and len(names) > 1
    counts = set(Counter(layers).values())
    if not every or len(counts) != 1 or max(layers) + 1 < config.num_hidden_layers:
        return ""
    return f" (config.json: num_hidden_layers is {config.num_hidden_layers})"


def _misshapen(misshapen: _Misshapen, config: Any) -> str:
    name, found, wanted = misshapen[0]
    more = f", and {len(misshapen) - 1} more do not fit" if len(misshapen) > 1 else ""
    fields = _fields(found, wanted, config)
    return (
        f"{named(name)} is {list(found)} in the file, {list(wanted)} by config.json{fields}{more}"
    )


def _fields(found: tuple[int, ...], wanted: tuple[int, ...], config: Any) -> str:
    """The fields of config.json that have the size which the file has not."""
    apart = {b for a, b in zip(found, wanted, strict=False) if a != b}
    values = config.to_dict().items()
    names = [key for key, value in values if type(value) is int and value in apart]
    return f" ({' or '.join(names[:3])})" if names else ""


def _check_tie(built: Any, tensors: Mapping[str, Tensor], model: str) -> None:
    """Of two matrices that config.json ties, transformers keeps both where they differ."""
    if not built.config.tie_word_embeddings:
        return
    shared: dict[int, list[str]] = {}
    for name, parameter in built.named_parameters(remove_duplicate=False):
        shared.setdefault(id(parameter), []).append(name)
    for names in shared.values():
        stored = [name for name in names if name in tensors]
        for twin in stored[1:]:
            if not equal((stored[0], tensors[stored[0]]), (twin, tensors[twin])):
                raise refused(
                    model,
                    f"config.json: tie_word_embeddings is true, but {stored[0]} and {twin} differ "
                    "in the files; set it to false, or remove one of the two",
                )
