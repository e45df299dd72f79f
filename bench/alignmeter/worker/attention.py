"""Which of torch's attentions ran: chosen at each call by device, dtype and shape."""

__all__ = ["BACKENDS", "PLAIN", "attention_path"]

from collections.abc import Iterable

BACKENDS: dict[str, str] = {
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_flash_attention_for_cpu": "flash",
    "_scaled_dot_product_efficient_attention": "memory-efficient",
    "_scaled_dot_product_cudnn_attention": "cuDNN",
    "_scaled_dot_product_fused_attention_overrideable": "fused",
}
"""Operator of ATen -> the backend's name. Of these, flash on a CPU alone sums its gradients in one
order; the others do with deterministic algorithms only (torch, "Reproducibility")."""
PLAIN = "math"
"""Products and a softmax: no operator of its own."""


def attention_path(operators: Iterable[str]) -> str | None:
    """The backends among a step's operators (``aten.mm.default``), in order of names.

    ``None`` if there is none of them: attention then was `PLAIN`, or the model has none.
    """
    names = {operator.split(".")[1] for operator in operators if operator.startswith("aten.")}
    found = {BACKENDS[name] for name in names if name in BACKENDS}
    return ", ".join(sorted(found)) or None
