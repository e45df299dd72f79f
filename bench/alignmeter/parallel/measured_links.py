"""Times of collectives between the ranks that this process has joined."""

__all__ = ["measure_collectives"]

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist

from alignmeter.accelerators.base import Accelerator
from alignmeter.analysis.links import bus_factor
from alignmeter.records.links import KINDS, TimedCollective

_WARM, _TIMED = 2, 7
_VALUE_BYTES = 4


def measure_collectives(accelerator: Accelerator, sizes: Sequence[int]) -> list[TimedCollective]:
    """Of each kind and size in bytes, rounded up to whole fp32 values for each rank.

    Every rank has to call it, and gets the same figures.
    """
    device, size = accelerator.torch_device(), dist.get_world_size()
    found = []
    for kind in KINDS:
        for wanted in sizes:
            count = -(-wanted // (_VALUE_BYTES * size))
            whole = torch.ones(size * count, device=device)
            part = torch.ones(count, device=device)
            seconds = _median_s(_collective(kind, whole, part), accelerator, device)
            nbytes = whole.nbytes
            found.append(
                TimedCollective(
                    kind=kind,
                    nbytes=nbytes,
                    seconds=seconds,
                    bus_bytes_per_s=nbytes * bus_factor(kind, size) / seconds,
                )
            )
    return found


def _collective(kind: str, whole: torch.Tensor, part: torch.Tensor) -> Callable[[], object]:
    return {
        "all_gather": lambda: dist.all_gather_into_tensor(whole, part),
        "reduce_scatter": lambda: dist.reduce_scatter_tensor(part, whole),
        "all_reduce": lambda: dist.all_reduce(whole),
    }[kind]


def _median_s(run: Callable[[], object], accelerator: Accelerator, device: torch.device) -> float:
    """Of the slowest rank's times."""
    times = []
    for number in range(_WARM + _TIMED):
        dist.barrier()
        accelerator.synchronise()
        start = time.perf_counter()
        run()
        accelerator.synchronise()
        if number >= _WARM:
            times.append(time.perf_counter() - start)
    slowest = torch.tensor(times, device=device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return float(statistics.median(slowest.tolist()))
