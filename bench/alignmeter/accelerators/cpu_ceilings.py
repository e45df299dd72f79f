"""What a CPU reaches in matrix products and in moving bytes, measured: no table has its peaks."""

__all__ = ["measured_ceilings"]

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.units import MIB

if TYPE_CHECKING:
    import torch

_SIZES = (512, 1024)
"""Of square products: some milliseconds, so that a run meets no other process, and one that is deep
enough to be near the peak.
"""
_SETS = (4 * MIB, 64 * MIB, 256 * MIB)
"""Bytes that are read and written over and over: what caches hold moves faster than memory does."""
_LEAST_RUNS, _LEAST_S = 3, 0.05


def measured_ceilings(threads: int) -> MeasuredCeilings:
    """In 1.5 s and 256 MiB, for steps on that many threads; torch's own number is 1 afterwards.

    Products: one thread's best run times the threads. All of them together reach no more, and where
    other processes run they reach much less, which would be no ceiling. Bytes: the best of copies
    and sums in sets of each size, by all threads and by one. Each has caches of its own, so of the
    smallest set, which those hold, one thread's again times the threads.
    """
    import torch

    moved = dict.fromkeys(_SETS, 0.0)
    for count in (threads, 1):
        torch.set_num_threads(count)
        for size in _SETS:
            moved[size] = max(moved[size], *_rates(size))
    moved[_SETS[0]] = max(moved[_SETS[0]], threads * max(_rates(_SETS[0])))
    fp32, bf16 = (threads * _product(dtype) for dtype in (torch.float32, torch.bfloat16))
    return MeasuredCeilings(
        fp32_flops_per_s=fp32,
        bf16_flops_per_s=max(fp32, bf16),  # such a cell has products in fp32 too
        # A set that is smaller is no slower, whatever ran beside.
        bytes_per_s={size: max(moved[more] for more in _SETS if more >= size) for size in _SETS},
    )


def _product(dtype: "torch.dtype") -> float:
    """FLOP/s of the fastest [n, n] x [n, n], its right side as it is stored or transposed."""
    import torch

    best = 0.0
    for n in _SIZES:
        a, b = (torch.ones(n, n, dtype=dtype) for _ in range(2))
        out = torch.empty(n, n, dtype=dtype)
        for right in (b, b.t()):
            best = max(best, 2 * n**3 / _best_s(partial(torch.mm, a, right, out=out)))
    return best


def _rates(size: int) -> Iterator[float]:
    """Bytes per s of a copy from one half of so many bytes to the other, and of a sum over all."""
    import torch

    values = torch.ones(size // torch.float32.itemsize)
    half, other = values.chunk(2)
    yield size / _best_s(partial(half.copy_, other))
    yield size / _best_s(values.sum)


def _best_s(call: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs, after one that counts for nothing."""
    call()
    best, runs, begun = float("inf"), 0, time.perf_counter()
    while runs < _LEAST_RUNS or time.perf_counter() - begun < _LEAST_S:
        start = time.perf_counter()
        call()
        best, runs = min(best, time.perf_counter() - start), runs + 1
    return best
