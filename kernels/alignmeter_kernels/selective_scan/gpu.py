"""`selective_scan` on Triton: tiles for each chip, grids, and the sums over programs."""

__all__ = ["backward", "forward"]

import torch

from alignmeter_kernels.launch import Tile, launch, pick, units
from alignmeter_kernels.selective_scan.portable import CHUNK

Tensor = torch.Tensor

_MOST_CHANNELS = 64
"""Of a program of the backward pass. The partial sums of dB and dC then are 2 N / 64 of what ``u``
is, in fp32; fewer channels mean more programs and more bytes to write and read again."""
_PER_UNIT = 2
"""Programs wanted for each of a chip's units: as many as the registers of ``scan_backward`` leave
room for on an SM of sm_90. A CU of gfx942 holds three or four; what they add is not measured."""
_PARTIAL_BYTES = 64 * 2**20
"""Partial sums held at once, whatever the sequence's length and however many the programs."""

_FORWARD = {
    "default": Tile(blocks={"BD": 2}, warps=4),
    "sm_": Tile(blocks={"BD": 1}, warps=4),
    "interpreter": Tile(blocks={"BD": 2}),
}
_BACKWARD = {
    "default": Tile(blocks={}, warps=4),
}


def _table(A: Tensor, D: Tensor | None, bias: Tensor | None) -> Tensor:
    """[D, N + 2]: what belongs to a channel, in one place; each pointer costs scalar registers."""
    none = A.new_zeros(A.shape[0])
    columns = [none if column is None else column for column in (D, bias)]
    return torch.cat([A, torch.stack(columns, 1)], 1).float()


def _padded(states: int) -> int:
    return 1 << (states - 1).bit_length()


def _channels(rows: int, width: int) -> int:
    """Channels of a program of the backward pass: as many as leave the chip's units busy."""
    wanted = -(-_PER_UNIT * units() // max(1, rows))
    return max(1, min(_MOST_CHANNELS, width // wanted))


def _segment(length: int, bytes_per_token: int) -> int:
    """Tokens whose partial sums are held at once: whole chunks, near equal parts of ``length``."""
    chunks = max(1, -(-length // CHUNK))
    parts = -(-chunks // max(1, _PARTIAL_BYTES // (bytes_per_token * CHUNK)))
    return -(-chunks // parts) * CHUNK


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    first: Tensor | None,
    *,
    softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """``y``, the last state and the kept ones [rows, chunks, D, N]; all inputs contiguous."""
    from alignmeter_kernels.selective_scan import kernel

    (rows, width, length), n, tile = u.shape, A.shape[1], pick(_FORWARD)
    y = torch.empty_like(u)
    last = u.new_empty(rows, width, n, dtype=torch.float32)
    kept = u.new_empty(rows, -(-length // CHUNK), width, n, dtype=torch.float32)
    launch(
        kernel.scan_forward, (rows, -(-width // tile.blocks["BD"])),
        u, delta, _table(A, D, bias), B, C, z, first, y, last, kept, width, length,
        tile=tile, N=n, SOFTPLUS=softplus, BN=_padded(n), BL=CHUNK,
    )  # fmt: skip
    return y, last, kept


def backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    *,
    results: tuple[Tensor, Tensor, Tensor],
    softplus: bool,
) -> list[Tensor]:
    """Gradients of u, delta, A, B, C, D, z, bias and the first state.

    ``results``: the kept states, and the gradients of y and of the last state.
    """
    from alignmeter_kernels.selective_scan import kernel

    kept, dy, dlast = results
    (rows, width, length), n, tile = u.shape, A.shape[1], pick(_BACKWARD)
    channels = _channels(rows, width)
    programs = -(-width // channels)
    segment = _segment(length, 2 * max(1, rows) * programs * n * 4)
    # Each result in a storage of its own, here and below: those of an operator may not share one.
    du, ddelta = torch.empty_like(u), torch.empty_like(u)
    dz = None if z is None else torch.empty_like(u)
    partial = u.new_empty(rows, programs, 2, n, segment, dtype=torch.float32)
    dB, dC = (u.new_empty(rows, n, length, dtype=torch.float32) for _ in range(2))
    sums = u.new_zeros(rows, width, 3 * n + 4, dtype=torch.float32)
    sums[:, :, :n], sums[:, :, 2 * n + 2 :] = dlast, _table(A, D, bias)
    for begin in range((length - 1) // segment * segment, -1, -segment):
        launch(
            kernel.scan_backward, (rows, programs), u, delta, B, C, z, kept, dy, du, ddelta,
            dz, partial, sums, width, length, begin, segment, channels,
            tile=tile, N=n, SOFTPLUS=softplus, BN=_padded(n), BL=CHUNK,
        )  # fmt: skip
        end = min(begin + segment, length)
        for whole, part in zip((dB, dC), partial[..., : end - begin].unbind(2), strict=True):
            torch.sum(part, 1, out=whole[..., begin:end])
    of_a, of_d, of_bias = sums[:, :, n : 2 * n], sums[:, :, 2 * n], sums[:, :, 2 * n + 1]
    dA, dD, dbias = (part.sum(0) for part in (of_a, of_d, of_bias))
    dfirst = sums[:, :, :n].clone(memory_format=torch.contiguous_format)
    return [du, ddelta, dA, dB, dC, dD, u.new_empty(0) if dz is None else dz, dbias, dfirst]
