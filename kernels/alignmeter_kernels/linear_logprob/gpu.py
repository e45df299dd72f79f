"""`linear_logprob` on Triton: tiles for each chip, grids, and the merge of the splits."""

__all__ = ["backward", "forward"]

import torch

from alignmeter_kernels.launch import Tile, launch, pick

Tensor = torch.Tensor

_SLICE_BYTES = 64 * 2**20
"""Slopes held at once: at T = 2048 in bf16 16384 words, enough for a product at full speed."""
_PROGRAMS = 512
"""Wanted at least: two to four for each of the 80 to 304 compute units of today's chips."""

_TILES = {
    "default": Tile(blocks={"BT": 64, "BV": 64, "BH": 32}, warps=4, stages=2),
    "sm_": Tile(blocks={"BT": 64, "BV": 128, "BH": 64}, warps=8, stages=3),
    "sm_90": Tile(blocks={"BT": 128, "BV": 128, "BH": 64}, warps=8, stages=4),
    "sm_10": Tile(blocks={"BT": 128, "BV": 64, "BH": 64}, warps=8, stages=3),
    "gfx9": Tile(blocks={"BT": 128, "BV": 128, "BH": 32}, warps=8, stages=2),
    "interpreter": Tile(blocks={"BT": 32, "BV": 64, "BH": 16}),
}
_WIDE_TILES = {
    "default": Tile(blocks={"BT": 32, "BV": 64, "BH": 32}, warps=4, stages=2),
    "sm_90": Tile(blocks={"BT": 32, "BV": 64, "BH": 32}, warps=8, stages=2),
    "gfx9": Tile(blocks={"BT": 64, "BV": 64, "BH": 32}, warps=8, stages=1),
    "interpreter": Tile(blocks={"BT": 32, "BV": 64, "BH": 16}),
}
"""For fp32, whose operands take twice the room."""


def _tile(hidden: Tensor) -> Tile:
    return pick(_WIDE_TILES if hidden.dtype == torch.float32 else _TILES)


def forward(hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs, entropies and logsumexps, all [T] fp32, of [T, H], [V, H] and [T]."""
    from alignmeter_kernels.linear_logprob import kernel

    tile, (tokens, width), vocabulary = _tile(hidden), hidden.shape, weight.shape[0]
    rows = -(-tokens // tile.blocks["BT"])
    steps = -(-vocabulary // tile.blocks["BV"])
    splits = max(1, min(-(-_PROGRAMS // rows), steps // 4))
    per_split = -(-steps // splits) * tile.blocks["BV"]
    splits = -(-vocabulary // per_split)
    parts = hidden.new_empty(4, splits, tokens, dtype=torch.float32)
    launch(
        kernel.partial_softmax, (rows, splits), hidden, weight, labels, parts, tokens, vocabulary,
        width, per_split, tile=tile, PRECISION="ieee",
    )  # fmt: skip
    top, total, weighted, picked = parts
    highest = top.amax(0)
    shrink = (top - highest).exp()
    sums = (total * shrink).sum(0)
    lse = highest + sums.log()
    return picked.sum(0) - lse, lse - (weighted * shrink).sum(0) / sums, lse


def _slice(vocabulary: int, block: int, bytes_per_word: int) -> int:
    """Words of a slice: whole blocks, near equal parts, so that the last one fills the chip too."""
    blocks = -(-vocabulary // block)
    parts = -(-blocks // max(8, _SLICE_BYTES // (max(1, bytes_per_word) * block)))
    return -(-blocks // parts) * block


def backward(
    hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, *, trained: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of ``hidden`` and, if it is ``trained``, of ``weight`` (else an empty tensor).

    The vocabulary is cut, not the tokens: each slice's rows of the weight's gradient are then one
    product, written once, and only [T, H] is summed over slices, in fp32.
    """
    from alignmeter_kernels.linear_logprob import kernel

    tile, (tokens, width), vocabulary = _tile(hidden), hidden.shape, weight.shape[0]
    size = _slice(vocabulary, tile.blocks["BV"], tokens * hidden.element_size())
    dhidden = hidden.new_zeros(hidden.shape, dtype=torch.float32)
    dweight = torch.empty_like(weight) if trained else weight.new_empty(0)
    for begin in range(0, vocabulary, size):
        end = min(begin + size, vocabulary)
        slope = hidden.new_empty(tokens, end - begin)
        grid = -(-tokens // tile.blocks["BT"]), -(-(end - begin) // tile.blocks["BV"])
        launch(
            kernel.slopes, grid, hidden, weight, labels, lse, grad, slope, tokens, begin, end,
            width, tile=tile, PRECISION="ieee",
        )  # fmt: skip
        dhidden += slope @ weight[begin:end]
        if trained:
            torch.mm(slope.mT, hidden, out=dweight[begin:end])
    return dhidden.to(hidden.dtype), dweight
