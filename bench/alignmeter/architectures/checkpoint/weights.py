"""The load itself: nothing is made up, and what is read is looked at once."""

__all__ = ["Looked", "load_weights", "look"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.checkpoint.config import made
from alignmeter.architectures.checkpoint.fit import LAYER, loading_options
from alignmeter.errors import CellError
from alignmeter.streams import quiet

_CPU = torch.device("cpu")
_HUGE = torch.finfo(torch.float16).max
"""65504. Trained weights lie far below: people keep and run them in fp16. Above, a few products in
a row and the square in a norm leave fp32, whose largest is 3e38.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """Names of tensors with a NaN or an infinity in them, of weights that are all zeros (norms'
    too; biases may be), and of those with a value beyond fp16's largest.
    """

    not_finite: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    huge: tuple[str, ...] = ()


def load_weights(
    files: Sequence[Path],
    config: Any,
    *,
    dtype: torch.dtype,
    device: torch.device,
    kept: Sequence[int] | None = None,
) -> nn.Module:
    """The causal LM of ``files``, which lie in one folder, in ``dtype`` on ``device``.

    ``kept``: the layers that the config keeps, and the others' tensors stay in the files; ``None``:
    all. Raises `CellError` if what was loaded is not what `check_fit` found before the run.
    """
    from transformers import AutoModelForCausalLM

    loads: Any = AutoModelForCausalLM
    placed = {} if device == _CPU else {"device_map": {"": device}}
    first = kept is None or [*kept] == [*range(len(kept))]
    given = {} if first else {"state_dict": _read(files, kept or ())}
    if given:  # without a folder only the model's own class loads
        with torch.device("meta"):
            loads = type(made(config))
    with quiet():
        model, info = loads.from_pretrained(
            None if given else files[0].parent, config=config, dtype=dtype, use_safetensors=True,
            trust_remote_code=False, **loading_options(), **placed, **given,
        )  # fmt: skip
    _check_loaded(info, cut=kept is not None)
    loaded: nn.Module = model
    return loaded


def _read(files: Sequence[Path], kept: Sequence[int]) -> dict[str, torch.Tensor]:
    """Tensors of ``files`` by name, of layers those ``kept``, each by its place among them."""
    from safetensors import safe_open

    found = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                layer = LAYER.search(name)
                if layer is None:
                    found[name] = opened.get_tensor(name)
                elif int(layer[1]) in kept:
                    place = f"{kept.index(int(layer[1]))}"
                    renamed = name[: layer.start(1)] + place + name[layer.end(1) :]
                    found[renamed] = opened.get_tensor(name)
    return found


def _check_loaded(info: Mapping[str, Any], *, cut: bool) -> None:
    found = {
        "missing": sorted(info["missing_keys"]),
        "extra": [] if cut else sorted(info["unexpected_keys"]),
        "of another shape": sorted(name for name, *_ in info["mismatched_keys"]),
    }
    for what, names in found.items():
        if names:
            raise CellError(
                "crashed",
                "checkpoint_changed",
                f"{names[0]} is {what} in the files now; no weight is made up for it",
            )


def look(weights: Iterable[tuple[str, torch.Tensor]]) -> Looked:
    """What of the loaded weights, each with its name, cannot be right, or is unlikely to be.

    One reduction of each tensor where it lies, to its smallest and largest value: a NaN comes out
    as both, and no mask of the tensor's size is made. One transfer to the host. Tensors without
    data have none to look at.
    """
    names, edges = [], []
    for name, tensor in weights:
        if tensor.is_floating_point() and not tensor.is_meta and tensor.numel():
            names.append((name, tensor.dim() > 1 or name.endswith(".weight")))
            edges.append(torch.stack(torch.aminmax(tensor.detach())).float())
    if not edges:
        return Looked()
    rows = torch.stack(edges)
    finite = torch.isfinite(rows).all(1).tolist()
    zero = (rows == 0).all(1).tolist()
    huge = (rows.abs() > _HUGE).any(1).tolist()
    return Looked(
        not_finite=tuple(name for (name, _), ok in zip(names, finite, strict=True) if not ok),
        zero=tuple(
            name for (name, weighs), none in zip(names, zero, strict=True) if weighs and none
        ),
        huge=tuple(name for (name, _), far in zip(names, huge, strict=True) if far),
    )
