"""What some families make of the output head's product before it is their logits.

A loss takes the head's product apart from the model, so it has to repeat that. The trial of a
config (`alignmeter.architectures.checkpoint.trial`) finds families that do more than is known here.
"""

__all__ = ["cap_of", "final_logits", "operators_after_head", "scaled_states"]

from typing import Any

import torch

_CAPPED = ("gemma2", "gemma3_text", "vaultgemma")
"""``cap tanh(logits / cap)``, where the field is not null (Gemma 2, https://arxiv.org/abs/2408.00118,
section 2)."""
_DIVIDED = ("granite", "granitemoe", "granitemoeshared", "granitemoehybrid")
_MULTIPLIED = {"cohere": "logit_scale", "cohere2": "logit_scale", "falcon_h1": "lm_head_multiplier"}
_CAP, _DIVISOR = "final_logit_softcapping", "logits_scaling"


def final_logits(model: Any, logits: torch.Tensor) -> torch.Tensor:
    """The logits of ``model`` from the product [..., V] of its output head; mostly that itself."""
    config = model.config
    if _caps(config):
        cap: float = getattr(config, _CAP)
        return torch.tanh(logits / cap) * cap
    return _scaled(config, logits)


def scaled_states(model: Any, states: torch.Tensor) -> torch.Tensor:
    """Last hidden states [..., D] whose product with the output head is already scaled as logits
    are. Of capped ones there are no such: `cap_of`.
    """
    return _scaled(model.config, states)


def operators_after_head(config: Any) -> tuple[str, ...]:
    """The operators of `final_logits`, in their order."""
    kind = config.model_type
    if _caps(config):
        return "div", "tanh", "mul"
    return ("div",) * (kind in _DIVIDED) + ("mul",) * (kind in _MULTIPLIED)


def cap_of(config: Any) -> float | None:
    """What the logits of such a model cannot exceed; ``None``: anything."""
    return float(getattr(config, _CAP)) if _caps(config) else None


def _caps(config: Any) -> bool:
    return config.model_type in _CAPPED and getattr(config, _CAP, None) is not None


def _scaled(config: Any, tensor: torch.Tensor) -> torch.Tensor:
    kind: str = config.model_type
    if kind in _DIVIDED:
        divisor: float = getattr(config, _DIVISOR)
        return tensor / divisor
    if kind in _MULTIPLIED:
        factor: float = getattr(config, _MULTIPLIED[kind])
        return tensor * factor
    return tensor
