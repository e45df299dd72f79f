"""The pytest fixture behind `suites/bench_kernels.py`."""

__all__ = ["KernelBench"]

import statistics
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from alignmeter.accelerators.base import Accelerator
    from alignmeter.kernelbench.baselines import Baseline
    from alignmeter.kernelbench.compare import Comparison

_ALONE = "alone"
"""In the column of baselines: the kernel by itself, for which no other package need be here."""


class KernelBench:
    """One row of the suite: a kernel (or a whole step) versus one baseline, or alone.

    The time that pytest-benchmark prints is a round's, with all that is between its calls; that of
    one call, by the device's clock, is in ``extra_info`` and in the table of kernels.
    """

    def __init__(
        self, benchmark: Any, rows: list[dict[str, Any]], accelerator: "Accelerator"
    ) -> None:
        self._benchmark, self._rows, self._accelerator = benchmark, rows, accelerator
        self._on_host = accelerator.device_type == "cpu"

    def kernel(
        self, name: str, case: str, path: str, passes: str, baseline: str, rounds: int
    ) -> None:
        """``path``: ``best`` of this device, or ``torch`` for the pure-torch version on a CPU."""
        from alignmeter.kernelbench import compare_kernel
        from alignmeter_kernels.paths import portable_only

        chosen = self._baseline(name, baseline)
        with portable_only() if path == "torch" else nullcontext():
            found = compare_kernel(
                name, case, chosen, backward=passes == "fwd+bwd", accelerator=self._accelerator
            )
            beside = None if chosen is None else baseline
            about = {"row": f"{name} {case}", "passes": passes, "baseline": beside}
            self._measure(found, rounds, about, path_of=name)
            if not self._on_host:
                self._add_rates(name, case, passes)

    def _baseline(self, name: str, baseline: str) -> "Baseline | None":
        """``None``: none is wanted. Skips where it cannot run."""
        from alignmeter.kernelbench import BASELINES

        if baseline == _ALONE:
            return None
        chosen = BASELINES[name][baseline]
        missing = chosen.missing()
        if missing is not None:
            pytest.skip(f"{missing}; install it to compare with it")
        return chosen

    def _add_rates(self, name: str, case: str, passes: str) -> None:
        """What share of the device the kernel reached."""
        from alignmeter.kernelbench import achieved
        from alignmeter.kernelbench.compare import find_case, find_kernel

        kernel, row = find_kernel(name), self._rows[-1]
        row |= achieved(
            kernel, find_case(kernel, case), backward=passes == "fwd+bwd",
            seconds=row["ours_s"], accelerator=self._accelerator,
        )  # fmt: skip
        self._benchmark.extra_info.update(row)

    def lengths(self, name: str, short: str, long: str, times: int, rounds: int) -> None:
        """A case of ``times`` the tokens versus a short one: ``1 / times`` as fast if linear."""
        from alignmeter.kernelbench import compare_lengths

        found = compare_lengths(name, short, long, accelerator=self._accelerator)
        about = {"row": f"{name} {long}", "passes": f"{times}x as long", "baseline": short}
        self._measure(found, rounds, about, path_of=name)
        row = self._rows[-1]
        row["time_per_token"] = 1 / row["speedup"] / times
        row["memory_per_token"] = 1 / row["memory_ratio"] / times
        self._benchmark.extra_info.update(row)

    def process(self, name: str, case: str, baseline: str) -> None:
        """Peak of a fresh process that runs the kernel, versus one that runs the baseline."""
        from alignmeter.kernelbench import process_peak_bytes

        self._baseline(name, baseline)
        theirs = process_peak_bytes(name, case, baseline)
        ours = self._benchmark.pedantic(
            process_peak_bytes, args=(name, case, None), rounds=1, iterations=1
        )
        row = {
            "row": f"{name} {case}", "passes": "process", "baseline": baseline, "path": "best",
            "accelerator": self._accelerator.name, "ours_added_bytes": ours,
            "theirs_added_bytes": theirs, "memory_ratio": theirs / ours,
        }  # fmt: skip
        self._benchmark.extra_info.update(row)
        self._rows.append(row)

    def step(
        self, method: str, architecture: str, seq_len: int, baseline: str, rounds: int
    ) -> None:
        """A whole step at tiny."""
        from alignmeter.kernelbench import compare_step

        try:
            found = compare_step(
                method, architecture, seq_len, baseline, accelerator=self._accelerator
            )
        except ModuleNotFoundError as error:
            pytest.skip(f"{error}; install it to compare with it")
        name = f"{method} step of {architecture} tiny, T {seq_len}"
        about = {"row": name, "passes": "step", "baseline": baseline}
        self._measure(found, rounds, about, path_of="selective_scan")

    def bounded_step(
        self, method: str, architecture: str, seq_len: int, baseline: str, limit_s: int
    ) -> None:
        """One step of a baseline that may take minutes, ended at ``limit_s``, versus ours.

        The two losses are compared at an eighth of the length, in seconds.
        """
        import torch

        from alignmeter.kernelbench import bounded_step_s, compare_step, step_runner
        from alignmeter_kernels.paths import paths_run

        host = self._accelerator
        compare_step(method, architecture, seq_len // 8, baseline, accelerator=host)
        theirs_s, ended = bounded_step_s(method, architecture, seq_len, baseline, limit_s)
        run = step_runner(method, architecture, seq_len, None, accelerator=host)
        seconds = []

        def timed() -> None:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            run()  # warm-up
            self._benchmark.pedantic(timed, rounds=3, iterations=1)
        finally:
            torch.set_num_threads(threads)
        ours_s = statistics.median(seconds)
        row = {
            "row": f"{method} step of {architecture} tiny, T {seq_len}", "passes": "step",
            "baseline": baseline, "path": paths_run().get("selective_scan", "torch"),
            "accelerator": host.name, "ours_s": ours_s, "theirs_s": theirs_s,
            "speedup": theirs_s / ours_s, "theirs_ended": ended,
        }  # fmt: skip
        self._benchmark.extra_info.update(row)
        self._rows.append(row)

    def _measure(
        self, found: "Comparison", rounds: int, about: Mapping[str, str | None], *, path_of: str
    ) -> None:
        import torch

        from alignmeter_kernels.paths import paths_run

        threads = torch.get_num_threads()
        if self._on_host:
            torch.set_num_threads(1)
        try:
            self._warm_up(found, about["baseline"])
            self._benchmark.pedantic(
                found.run_ours, setup=found.run_theirs, rounds=rounds, iterations=1,
                warmup_rounds=0,
            )  # fmt: skip
            found.measure_memory()
        finally:
            torch.set_num_threads(threads)
        summary = {
            **about, "path": paths_run().get(path_of, "torch"),
            "accelerator": self._accelerator.name, **found.summary(),
        }  # fmt: skip
        self._benchmark.extra_info.update(summary)
        self._rows.append(summary)

    def _warm_up(self, found: "Comparison", baseline: str | None) -> None:
        """Skips where the baseline asks for a package in its first call only."""
        try:
            found.warm_up()
        except ImportError as error:
            pytest.skip(f"{baseline} cannot run here: {error}")
