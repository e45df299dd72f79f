"""What the fields of a checkpoint's config.json may hold: a table, and what positions become.

transformers checks types. A number out of range passes there, and in a worker it raises, makes
losses NaN or leaves adapters without a gradient.
"""

__all__ = ["check_positions", "check_ranges", "check_raw"]

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from alignmeter.architectures.checkpoint.refusal import one_line, refused, said
from alignmeter.streams import quiet


class _Row(NamedTuple):
    """What is right, in words and as a test; ``side``: the field is a side of some tensor."""

    words: str
    holds: Callable[[Any], bool]
    side: bool = False


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _limits(value: Any) -> bool:
    """Two numbers, the second may be infinite: Mamba-2 clamps its step sizes to them."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    if not pair or not _number(value[0]) or not isinstance(value[1], int | float):
        return False
    return bool(0 <= value[0] <= value[1] and value[1] > 0)


_COUNT = _Row("a whole number from 1 on", _count)
_WIDTH = _COUNT._replace(side=True)
_POSITIVE = _Row("a number over 0", lambda value: _number(value) and value > 0)
_EPS = _Row("a number over 0, at most 1", lambda value: _number(value) and 0 < value <= 1)
_FIELDS: dict[str, _Row] = {
    "hidden_size": _WIDTH,
    "intermediate_size": _WIDTH,
    "num_attention_heads": _WIDTH,
    "num_key_value_heads": _WIDTH,
    "head_dim": _WIDTH,
    "max_position_embeddings": _COUNT,
    "state_size": _WIDTH,
    "conv_kernel": _WIDTH,
    "expand": _WIDTH,
    "num_heads": _WIDTH,
    "n_groups": _WIDTH,
    "chunk_size": _COUNT,
    "mamba_n_heads": _WIDTH,
    "mamba_n_groups": _WIDTH,
    "mamba_d_state": _WIDTH,
    "mamba_d_conv": _WIDTH,
    "mamba_expand": _WIDTH,
    "mamba_chunk_size": _COUNT,
    "rms_norm_eps": _EPS,
    "layer_norm_epsilon": _EPS,
    "return_dict": _Row("true", lambda value: value is True),
    "attention_dropout": _Row(
        "a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1
    ),
}
"""Fields of transformers' configs, those of them that a model's step reads and no shape checks."""
_DERIVED: dict[str, _Row] = {
    "mamba_d_head": _COUNT,
    "sliding_window": _Row("a whole number from 1 on, or null", lambda v: v is None or _count(v)),
    "time_step_limit": _Row("two numbers from 0 on, the second no less than the first", _limits),
}
"""The same of what transformers makes of them: an unused window, a head's share of the width,
infinity as JSON has it.
"""
_MULTIPLES = (
    ("num_attention_heads", "num_key_value_heads"),
    ("num_heads", "n_groups"),
    ("mamba_n_heads", "mamba_n_groups"),
)
"""Fields of which the first must be a multiple of the second."""
_ROPE: dict[str, _Row] = {
    "rope_theta": _Row("a number over 1", lambda value: _number(value) and value > 1),
    "factor": _Row("a number from 1 on", lambda value: _number(value) and value >= 1),
    "original_max_position_embeddings": _Row(
        "a whole number from 2 on",
        lambda value: _count(value) and value > 1,  # its logarithm divides
    ),
    "attention_factor": _POSITIVE,
    "beta_fast": _POSITIVE,
    "beta_slow": _POSITIVE,
    "low_freq_factor": _POSITIVE,
    "high_freq_factor": _POSITIVE,
}
"""Fields of rope_parameters, as transformers' ``modeling_rope_utils.py`` documents them; it warns
of some and goes on.
"""


_WIDEST = 2**20
"""Nothing in a config without weights is wider: without data a model of it is made in no time."""


def check_raw(config: Mapping[str, Any], widest: int | None, model: str) -> None:
    """Raise `InputError` for a field of config.json that is not what it must be.

    Before transformers sees them: it divides by some, and fills tables as long as others. A field
    that is null or missing has transformers' default. ``widest``: the longest side of a tensor in
    the files; ``None`` without files.
    """
    limit = _WIDEST if widest is None else widest
    held = "the limit is" if widest is None else "no tensor in the files is wider than"
    for field, row in _FIELDS.items():
        value = config.get(field)
        if value is None:
            continue
        _check(field, value, row, model)
        if row.side and value > limit:
            text = f"{field} is {said(value)}, and {held} {limit}"
            raise refused(model, f"config.json: {text}")
    for whole, part in _MULTIPLES:
        many, few = config.get(whole), config.get(part)
        if many is not None and few is not None and many % few:
            text = f"{whole} is {said(many)}; want a multiple of {part}, which is {said(few)}"
            raise refused(model, f"config.json: {text}")


def check_ranges(config: Any, activations: Sequence[str], model: str) -> None:
    """Raise `InputError` for a field of transformers' config that is not what it must be.

    ``activations``: what ``hidden_act`` may be; empty for all that transformers has.
    """
    from transformers.activations import ACT2FN

    for field, row in (_FIELDS | _DERIVED).items():
        if hasattr(config, field):
            _check(field, getattr(config, field), row, model)
    known = activations or sorted(ACT2FN)
    words = " or ".join(known) if activations else "a name that transformers knows, such as silu"
    _check("hidden_act", config.hidden_act, _Row(words, known.__contains__), model)
    rope = getattr(config, "rope_parameters", None)
    if isinstance(rope, Mapping):
        _check_rope(rope, model)


def _check_rope(rope: Mapping[str, Any], model: str) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    known = ("default", *ROPE_INIT_FUNCTIONS)
    kind = "rope_parameters: rope_type"
    _check(kind, rope.get("rope_type"), _Row(" or ".join(known), known.__contains__), model)
    for field, row in _ROPE.items():
        if rope.get(field) is not None:
            _check(f"rope_parameters: {field}", rope[field], row, model)


def check_positions(built: nn.Module, config: Any, model: str, *, part: bool) -> None:
    """Raise `InputError` where rotary positions are not numbers, or not of the heads' width; with
    ``part`` they may be of less.

    ``built``: the model without data, whose shapes fit its files, so that heads are of their width.
    Each rotary embedding is made once more, with data, for the first positions and for one beyond
    the trained ones, where some scale others.
    """
    for kind in {type(module) for module in built.modules() if hasattr(module, "inv_freq")}:
        try:
            with quiet(), torch.device("cpu"):
                far = torch.tensor([[0, 1, config.max_position_embeddings]])
                turned = [kind(config)(torch.zeros(1), part) for part in (far[:, :2], far)]
        except Exception as error:  # whatever parameters can make transformers stumble over
            raise refused(model, f"config.json: rope_parameters: {one_line(error)}") from error
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        for cosine, sine in turned:
            if cosine.shape[-1] != width and not part:
                text = f"{cosine.shape[-1]} of a head's {width} numbers turn; want all"
                raise refused(model, f"config.json: rope_parameters: {text}")
            # Both are scaled by one factor, which is 1 but for scaled positions.
            if not torch.isfinite(cosine + sine).all() or not cosine[0, 0, 0] > 0:
                text = f"{config.rope_parameters.get('rope_type')} positions are not finite"
                raise refused(model, f"config.json: rope_parameters: {text}, or all zero")


def _check(field: str, value: Any, row: _Row, model: str) -> None:
    try:
        right = row.holds(value)
    except TypeError:  # a list, asked whether it is one of some names
        right = False
    if not right:
        raise refused(model, f"config.json: {field} is {said(value)}; want {row.words}")
