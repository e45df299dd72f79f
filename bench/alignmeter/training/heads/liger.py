"""Liger's head: logits of a chunk of tokens at a time, and gradients in the forward pass.

Liger Kernel, https://arxiv.org/abs/2410.10989, section 3.2 (FusedLinearCrossEntropy); chunks as in
``ops/fused_linear_cross_entropy.py`` of liger-kernel 0.8.
"""

__all__ = ["LIGER", "chunk_tokens"]

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from alignmeter.architectures.logits import scaled_states
from alignmeter.batches.spans import Where, spread
from alignmeter.training.heads.base import MeanHead, product_dtype
from alignmeter_kernels.paths import note

Tensor = torch.Tensor

_WIDE_BYTES = 16 * 2**20
"""Logits that are in fp32 at once; those of a chunk stay in the dtype of their product."""
_IGNORED = -100


class _Liger(MeanHead):
    """Its own algorithm in torch's operators; with ``kernels = vendor`` liger-kernel itself."""

    name = "liger"

    def mean_loss(
        self,
        model: Any,
        hidden: Tensor,
        ids: Tensor,
        where: Where,
        mask: Tensor,
        *,
        kernels: str,
    ) -> Tensor:
        """Every token of a row reaches the head, those of prompts with weight 0."""
        weight = model.get_output_embeddings().weight
        dtype = product_dtype(weight)
        states = scaled_states(model, hidden).to(dtype).flatten(0, 1)
        shares = spread(mask, where, ids.shape[1]).flatten()
        labels = ids.flatten().roll(-1)
        if kernels == "vendor":
            return _packaged(states, weight.to(dtype), labels.masked_fill(shares == 0, _IGNORED))
        note("mean_loss", "torch")
        parts = states, weight.to(dtype), labels, shares / shares.sum()
        loss: Tensor = _MeanLoss.apply(*parts)  # type: ignore[no-untyped-call]
        return loss


def _packaged(states: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    note("mean_loss", "liger_kernel")
    loss: Tensor = LigerFusedLinearCrossEntropyLoss(ignore_index=_IGNORED)(weight, states, labels)
    return loss


class _MeanLoss(torch.autograd.Function):
    """``-sum_t share_t log p_t``. states [N, D], weight [V, D] in one dtype; labels [N] int64;
    shares [N] fp32 are constants, so the gradients are known before anything comes back.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
        wants = ctx.needs_input_grad
        dstates = torch.zeros_like(states) if wants[0] else None
        dweight = torch.zeros_like(weight) if wants[1] else None
        losses = states.new_zeros(len(states), dtype=torch.float32)
        size = chunk_tokens(len(states), *weight.shape)
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            logits = states[part] @ weight.mT
            losses[part] = _into_slopes(logits, labels[part], shares[part])
            if dstates is not None:
                torch.mm(logits, weight, out=dstates[part])
            if dweight is not None:
                dweight.addmm_(logits.mT, states[part])
        ctx.save_for_backward(dstates, dweight)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """In place, as Liger does: the graph is walked once."""
        scaled = (None if one is None else one.mul_(grad) for one in ctx.saved_tensors)
        return *scaled, None, None


def chunk_tokens(tokens: int, vocabulary: int, width: int) -> int:
    """Tokens of a chunk, a power of two: its logits take about as much as all hidden states."""
    chunks = -(-vocabulary // width)
    return min(tokens, 1 << (-(-tokens // chunks) - 1).bit_length())


def _into_slopes(logits: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """Losses [C] fp32 of ``logits`` [C, V], which become ``share (p_v - 1[v = label])``."""
    rows = max(1, _WIDE_BYTES // (4 * logits.shape[1]))
    losses = []
    for start in range(0, len(logits), rows):
        part = slice(start, start + rows)
        share, label = shares[part].unsqueeze(1), labels[part].unsqueeze(1)
        wide = logits[part].float()
        wide.sub_(wide.amax(1, keepdim=True))
        picked = wide.gather(1, label)
        total = wide.exp_().sum(1, keepdim=True)
        losses.append((share * (total.log() - picked)).squeeze(1))
        wide.mul_(share / total).scatter_add_(1, label, -share)
        if wide.dtype != logits.dtype:
            logits[part] = wide
    return torch.cat(losses)


LIGER = _Liger()
