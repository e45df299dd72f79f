"""The plain recurrence, one token after the other, in the dtype of its inputs."""

__all__ = ["selective_scan_reference"]

import torch
import torch.nn.functional as F


def selective_scan_reference(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    *,
    delta_softplus: bool = False,
    initial_state: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mamba's selective scan, https://arxiv.org/abs/2312.00752, algorithm 2.

    With ``dt = delta + delta_bias``, through softplus if asked:
    ``h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t`` and ``y_t = C_t h_t``, then ``y + D u`` and
    ``silu(z) y`` where D and z are given.

    Args:
        u, delta, z: [rows, D, T]. A: [D, N]. B, C: [rows, N, T]. D, delta_bias: [D].
        initial_state: [rows, D, N], zero by default.

    Returns:
        y [rows, D, T] and the last state [rows, D, N].
    """
    dt = delta if delta_bias is None else delta + delta_bias[:, None]
    if delta_softplus:
        dt = F.softplus(dt)
    rows, width, seq_len = u.shape
    state = u.new_zeros(rows, width, A.shape[1]) if initial_state is None else initial_state
    outputs = []
    for t in range(seq_len):
        decay = torch.exp(dt[:, :, t, None] * A)
        state = decay * state + (dt[:, :, t] * u[:, :, t])[..., None] * B[:, None, :, t]
        outputs.append((state * C[:, None, :, t]).sum(-1))
    y = torch.stack(outputs, dim=-1)
    if D is not None:
        y = y + D[:, None] * u
    if z is not None:
        y = y * F.silu(z)
    return y, state
