"""Whether the model of a config.json runs, without data, and what of it a step could not take."""

__all__ = ["Trial", "check_runs", "tried"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from alignmeter.architectures.checkpoint.config import made, open_config
from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.architectures.layers import ATTENDING
from alignmeter.architectures.logits import operators_after_head
from alignmeter.architectures.transformers_internals import one_sequence_per_row
from alignmeter.streams import quiet

_TOKENS = 4
_SAME_NUMBERS = frozenset(("get", "getitem", "float", "to", "view", "contiguous"))
"""Functions that ask, move numbers or round them, and change none: ``__getitem__`` among them."""
_NAMES = {"truediv": "div", "rmul": "mul", "imul": "mul", "itruediv": "div"}
"""What Python's operators are called -> the function."""


def check_runs(path: Path, model: str) -> None:
    """Raise `InputError` for a config whose model stumbles in its first pass.

    Fields that pass one by one may not fit together: layers of a kind that the family does not
    have, a window that is not set. Shapes say so on torch's meta device, whatever the width, in
    milliseconds: one layer of each kind. Of rotary positions `check_positions` speaks.
    """
    fields = vars(open_config(path))
    kinds, attending = fields.get("layer_types"), fields.get(ATTENDING)
    config = open_config(path, layers=len(set(kinds)) if kinds else 2 if attending else 1)
    if kinds:
        config.layer_types = [*dict.fromkeys(kinds)]
    if getattr(config, "rope_parameters", None):  # others read positions, which have no data here
        config.rope_parameters = {"rope_type": "default", "rope_theta": 1e4}
    try:
        with quiet(), torch.device("meta"), one_sequence_per_row():
            ids = torch.zeros(1, _TOKENS, dtype=torch.long)
            backbone: Any = made(config).train().base_model
            backbone(input_ids=ids, use_cache=False)
    except Exception as error:  # whatever a config can make transformers and torch stumble over
        raise _stumbled(model, error) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """``called``: linear layers that ran as modules; others' weights are read by themselves."""

    called: frozenset[nn.Module]


def tried(built: Any, model: str) -> Trial:
    """One pass through the whole of ``built``, on torch's meta device, whatever its family.

    Raises `InputError` where it stumbles or needs values, or where its logits are not its output
    head's product with its last hidden states (but for what `final_logits` repeats).
    """
    head, backbone = built.get_output_embeddings(), built.base_model
    if head is None or backbone is built:
        raise refused(model, f"a {built.config.model_type} has no output head of its own")
    called: set[nn.Module] = set()
    watch = _Watch()
    hooks = [
        module.register_forward_hook(lambda module, *_: called.add(module))
        for module in built.modules()
        if type(module) is nn.Linear
    ]
    hooks += [
        backbone.register_forward_hook(lambda *_: watch.begin("before")),
        head.register_forward_pre_hook(lambda *_: watch.end()),
        head.register_forward_hook(lambda *_: watch.begin("after")),
    ]
    try:
        with quiet(), torch.device("meta"), one_sequence_per_row(), watch:
            ids = torch.zeros(1, _TOKENS, dtype=torch.long)
            built.train()(input_ids=ids, use_cache=False)
    except Exception as error:  # whatever a config can make transformers and torch stumble over
        raise _stumbled(model, error) from error
    finally:
        for hook in hooks:
            hook.remove()
    _check_logits(built.config, watch, model)
    return Trial(called=frozenset(called))


def _stumbled(model: str, error: Exception) -> Exception:
    return refused(model, f"config.json makes a model that does not run: {one_line(error)}")


class _Watch(TorchFunctionMode):
    """Operators around the output head that change numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"before": [], "after": []}
        self._now: str | None = None

    def begin(self, part: str) -> None:
        """From here on operators are of ``part``."""
        self._now = part

    def end(self) -> None:
        """Operators are of the head."""
        self._now = None

    def __torch_function__(
        self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Runs the function."""
        name = func.__name__.strip("_")
        if self._now is not None and name not in _SAME_NUMBERS:
            self.found[self._now].append(_NAMES.get(name, name))
        return func(*args, **(kwargs or {}))


def _check_logits(config: Any, watch: _Watch, model: str) -> None:
    after = tuple(watch.found["after"])
    wanted = operators_after_head(config)
    part, extra = ("output head", after) if after != wanted else ("last states", ())
    extra = extra or tuple(watch.found["before"])
    if extra:
        raise refused(
            model,
            f"a {config.model_type} changes its {part} ({', '.join(extra[:3])}) in a way that the "
            "losses here do not repeat",
        )
