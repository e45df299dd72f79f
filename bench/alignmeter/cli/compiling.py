"""Compiling kernels in parallel, each process a fresh one that never saw Triton's interpreter."""

__all__ = ["Job", "compile_jobs"]

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context

from alignmeter.children import die_with_parent, safe_path
from alignmeter.records.portability import PortabilityRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One kernel for one chip in one dtype. ``package``: where its ``KERNEL`` is."""

    kernel: str
    package: str
    chip: str
    dtype: str


def compile_jobs(jobs: Sequence[Job], finished: Callable[[], None]) -> list[PortabilityRow]:
    """The rows of all jobs, in their order; ``finished`` is called after each.

    A compiler that crashes takes its process along, and the pool with it. What is then unfinished
    runs once more, each job in a pool of its own; one that crashes there becomes a row that says
    so.
    """
    workers = min(len(jobs), len(os.sched_getaffinity(0)))
    found = _run(jobs, workers, finished)
    for job in jobs:
        if job not in found:
            found |= _run([job], 1, finished) or {job: [_crashed(job)]}
    return [row for job in jobs for row in found[job]]


def _run(
    jobs: Sequence[Job], workers: int, finished: Callable[[], None]
) -> dict[Job, list[PortabilityRow]]:
    """What became of the jobs, as far as the pool lasted."""
    found: dict[Job, list[PortabilityRow]] = {}
    with safe_path():
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        with safe_path():  # the processes start with the first job
            futures = {pool.submit(_compile, job): job for job in jobs}
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            finished()
    except BrokenProcessPool:
        return found  # the caller sees which jobs are missing
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _begin() -> None:
    """Runs before Triton is imported, which decides for good whether functions are interpreted."""
    die_with_parent()
    os.environ.pop("TRITON_INTERPRET", None)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback


def _compile(job: Job) -> list[PortabilityRow]:
    import torch

    from alignmeter_kernels.chips import CHIPS
    from alignmeter_kernels.portability import compile_launch, launches_of

    kernel, chip = import_module(job.package).KERNEL, CHIPS[job.chip]
    return [
        PortabilityRow(
            **asdict(compile_launch(kernel, case, launched, chip, job.dtype)),
            example=chip.example,
            data_centre=chip.data_centre,
            occupancy_unit=chip.occupancy_unit,
        )
        for case, launched in launches_of(kernel, chip.name, getattr(torch, job.dtype))
    ]


def _crashed(job: Job) -> PortabilityRow:
    from alignmeter_kernels.chips import CHIPS

    chip = CHIPS[job.chip]
    return PortabilityRow(
        kernel=job.kernel, case="", dtype=job.dtype, function="(any)", chip=chip.name,
        example=chip.example, data_centre=chip.data_centre, occupancy_unit=chip.occupancy_unit,
        error="the process that compiled it died",
    )  # fmt: skip
