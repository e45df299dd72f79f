"""The plain recurrence, one token after the other, in the dtype of its inputs."""

__all__ = ["ssd_scan_reference"]

import math

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def ssd_scan_reference(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    *,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mamba-2's recurrence, https://arxiv.org/abs/2405.21060, section 3, one decay per head.

    With ``dt + dt_bias``, through softplus if asked, then clamped to ``dt_limit``:
    ``h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T`` and ``y_t = h_t C_t + D x_t``.

    Args:
        x: [rows, T, H, P]. dt: [rows, T, H]. A, D, dt_bias: [H]. B, C: [rows, T, G, N]; H / G
            heads in a row share a group. initial_state: [rows, H, P, N], zero by default.

    Returns:
        y [rows, T, H, P] and the last state [rows, H, P, N].
    """
    rows, length, heads, width = x.shape
    groups, n = B.shape[2:]
    dt = dt if dt_bias is None else dt + dt_bias
    dt = (F.softplus(dt) if dt_softplus else dt).clamp(*dt_limit)
    B, C = (t.repeat_interleave(heads // groups, dim=2) for t in (B, C))
    state = x.new_zeros(rows, heads, width, n) if initial_state is None else initial_state
    outputs = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * A)[:, :, None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None]
        outputs.append((state * C[:, t, :, None]).sum(-1))
    y = torch.stack(outputs, dim=1)
    return (y if D is None else y + D[:, None] * x), state
