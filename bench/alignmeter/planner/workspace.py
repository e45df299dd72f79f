"""What operators allocate and free inside themselves, which no output shows.

Read off the operators' sources and checked against the CPU allocator's events. Operators that are
not here hold nothing worth telling, or nothing that is known.
"""

__all__ = ["cpu_workspace", "gpu_workspace"]

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch

from alignmeter.accelerators.cpu import host_threads
from alignmeter.worker.memory.torch_internals import has_onednn_bf16

Tensor = torch.Tensor

_PRODUCTS = {"mm", "matmul", "addmm", "bmm", "baddbmm"}
_COLUMNS = 64
_LEAST_ROWS, _ROWS = 32, 256
_DEPTH = 512
"""Bounds of the block of a product that oneDNN's AVX512 kernels compute at once.

The last is twice that where the product is deeper than two of them.
"""
_BLOCK_BYTES = 1024
"""What a thread holds beside its blocks, measured."""
_LEAST_PRODUCT = 16**3
"""Multiplications below which ATen does not ask oneDNN (``mkldnn_gemm_min_size``)."""


def cpu_workspace(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Bytes that ``func`` holds beside inputs and outputs on the CPU."""
    name = func.overloadpacket.__name__
    tensors = [a for a in args if isinstance(a, Tensor)]
    if torch.Tag.pointwise in func.tags:
        # A mask is read as it is.
        operands = tensors[1:] if name == "where" else [] if "masked_fill" in name else tensors
        return _casts(operands, in_place=name.endswith("_"))
    if name in ("sum", "cumsum"):
        return _cast_bytes(tensors[0], kwargs.get("dtype"))
    if name.removesuffix("_") in _PRODUCTS:
        return _product(*tensors[-2:])
    if name == "gemm_4bit":
        activations, weight = args[0], args[0].new_empty(args[2])
        flat = activations.reshape(-1, activations.shape[-1])
        return _unpacked(args, copies=1) + _product(flat, weight.t())
    return 0


def gpu_workspace(func: Any, args: tuple[Any, ...], _: Mapping[str, Any]) -> int:
    """The same on a GPU: the backward pass of flash attention and bitsandbytes' product.

    That product unpacks its weight from 1537 rows on (257 with ROCm), and below as each chip's
    thresholds have it; a plan takes it for unpacked always. In attention dq is summed in fp32, and
    where heads share keys, each head's dk and dv stand beside their sums (PyTorch's
    FlashAttention-2, ``flash_api.cpp``).
    """
    name = func.overloadpacket.__name__
    if name == "gemm_4bit":
        return _unpacked(args, copies=2)
    if name != "_scaled_dot_product_flash_attention_for_cpu_backward":
        return 0
    _, query, key = args[:3]
    sums = 4 * int(query.numel())
    if key.shape[1] == query.shape[1]:
        return sums
    of_one_head = int(key.numel()) // int(key.shape[1])
    return sums + 2 * of_one_head * int(query.shape[1]) * int(key.dtype.itemsize)


def _unpacked(args: tuple[Any, ...], *, copies: int) -> int:
    """The weight that bitsandbytes' ``gemm_4bit`` unpacks in its activations' dtype, and ``copies``
    of its scales in fp32 where they are quantised too (bitsandbytes, ``backends/*/ops.py``).
    """
    activations, _, shape, *others = args
    # The dispatcher gives all arguments by place and leaves out trailing defaults.
    quantised_scales = others[4] if len(others) > 4 else None
    scales = 0 if quantised_scales is None else copies * int(quantised_scales.numel())
    return math.prod(map(int, shape)) * int(activations.dtype.itemsize) + 4 * scales


def _casts(tensors: list[Tensor], *, in_place: bool) -> int:
    """Operands of another dtype are cast before the loop (ATen, ``TensorIterator.cpp``).

    On the CPU only. An output in place is another such operand.
    """
    wide = [t for t in tensors if t.dim()]
    if len({t.dtype for t in wide}) < 2:
        return 0
    common = reduce(torch.promote_types, (t.dtype for t in wide))
    return sum(_cast_bytes(t, common) for t in [*wide, *tensors[: int(in_place)]])


def _cast_bytes(tensor: Tensor, dtype: torch.dtype | None) -> int:
    """Of a copy in ``dtype``, if that is another one."""
    return 0 if dtype in (None, tensor.dtype) else int(tensor.numel()) * dtype.itemsize


def _product(a: Tensor, b: Tensor) -> int:
    """Matrix product in bf16 by oneDNN: copies in its layouts, and the kernels' blocks.

    fp32 goes to MKL, whose blocks no allocator of torch sees.
    """
    if a.dim() != b.dim() or a.dim() < 2 or a.dtype != torch.bfloat16:
        return 0
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = a.shape[0] if a.dim() == 3 else 1
    if (
        a.dtype != torch.bfloat16
        or batch * rows * depth * columns <= _LEAST_PRODUCT
        or not has_onednn_bf16()
    ):
        return 0
    # ATen, native/mkldnn/Matmul.cpp: what is neither contiguous nor transposed is made contiguous.
    copies = sum(2 * t.numel() for t in (a, b) if a.dim() == 3 and not _known_layout(t))
    # oneDNN, brgemm_matmul_utils.cpp, init_scratchpad: for each thread a packed block of b, one of
    # a where it is transposed, and fp32 sums.
    threads = host_threads()
    pieces = batch * -(-columns // _COLUMNS)
    block_rows = _block_rows(rows if pieces >= threads else max(16, -(-rows // threads)))
    block_columns = min(columns, _COLUMNS)
    block_depth = min(-(-depth // 64) * 64, _DEPTH * (2 if depth > 2 * _DEPTH else 1))
    of_thread = 2 * _COLUMNS * block_depth + 4 * block_columns * block_rows + _BLOCK_BYTES
    if a.stride(-1) != 1 and rows > 1:
        of_thread += 2 * block_depth * block_rows
    return copies + threads * of_thread


def _block_rows(rows: int) -> int:
    """Rows that a thread computes at once: the fewest equal blocks, uneven ones only if none are.

    Which blocks oneDNN takes is the outcome of a search. With this rule 149 random products of up
    to 2048 rows and a depth of up to 512 are within 20 KiB on one thread, 103 of them within 4. On
    two threads 72 are within 8 KiB and the worst is 172 too high, for oneDNN then also divides
    columns; deeper ones are up to 310 KiB off.
    """
    fewest = -(-rows // _ROWS)
    for blocks in range(fewest, rows // _LEAST_ROWS + 1):
        if rows % blocks == 0:
            return rows // blocks
    return -(-rows // fewest)


def _known_layout(t: Tensor) -> bool:
    rows, columns = t.shape[-2:]
    return t.is_contiguous() or t.stride() == (rows * columns, 1, rows)
