"""The pytest fixture behind `suites/bench_kernels.py`."""

__all__ = ["KernelBench", "comparison_lines"]

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from alignmeter.units import bytes_text, seconds_text

_FORMAT = "{:<33} {:>7} {:>7} {:>6} {:>8} {:>8} {:>5}"


class KernelBench:
    """One row of the suite: a kernel (or a whole step) beside one baseline."""

    def __init__(self, benchmark: Any, rows: list[dict[str, Any]], device: str) -> None:
        self._benchmark, self._rows, self._device = benchmark, rows, device

    def kernel(
        self, name: str, case: str, path: str, passes: str, baseline: str, rounds: int
    ) -> None:
        """``path``: ``best`` of this device, or ``torch`` for the pure-torch version on a CPU."""
        from alignmeter.kernelbench import BASELINES, compare_kernel
        from alignmeter_kernels.paths import portable_only

        chosen = BASELINES[name][baseline]
        missing = chosen.missing()
        if missing is not None:
            pytest.skip(f"{missing}; install it to compare with it")
        with portable_only() if path == "torch" else nullcontext():
            found = compare_kernel(
                name, case, chosen, backward=passes == "fwd+bwd", device=self._device
            )
            about = {"row": f"{name} {case}", "passes": passes, "baseline": baseline}
            self._measure(found, rounds, about, path_of=name)

    def step(
        self, method: str, architecture: str, seq_len: int, baseline: str, rounds: int
    ) -> None:
        """A whole step at tiny. With ``rounds`` 1 the check of the first loss is the warm-up."""
        from alignmeter.kernelbench import compare_step

        try:
            found = compare_step(method, architecture, seq_len, baseline, device=self._device)
        except ModuleNotFoundError as error:
            pytest.skip(f"{error}; install it to compare with it")
        name = f"{method} step of {architecture} tiny, T {seq_len}"
        about = {"row": name, "passes": "step", "baseline": baseline}
        self._measure(found, rounds, about, path_of="selective_scan")

    def _measure(self, found: Any, rounds: int, about: dict[str, str], *, path_of: str) -> None:
        import torch

        from alignmeter_kernels.paths import paths_run

        threads = torch.get_num_threads()
        if self._device == "cpu":
            torch.set_num_threads(1)
        try:
            if rounds > 1:
                found.warm_up()
            self._benchmark.pedantic(
                found.run_ours, setup=found.run_theirs, rounds=rounds, iterations=1,
                warmup_rounds=0,
            )  # fmt: skip
            found.measure_memory()
        finally:
            torch.set_num_threads(threads)
        summary = {
            **about, "path": paths_run().get(path_of, "torch"), "device": self._device,
            **found.summary(),
        }  # fmt: skip
        self._benchmark.extra_info.update(summary)
        self._rows.append(summary)


def comparison_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table for the terminal: medians over rounds in which both sides took turns.

    The peak is what one call adds to the bytes allocated before it.
    """
    head = _FORMAT.format("", "time", "theirs", "ratio", "peak", "theirs", "ratio")
    lines, last = [head], None
    for row in rows:
        if row["row"] != last:
            lines.append(row["row"])
            last = row["row"]
        lines.append(_line(row))
    return lines


def _line(row: dict[str, Any]) -> str:
    return _FORMAT.format(
        f"  {row['passes']}, {row['path']}, beside {row['baseline']}",
        seconds_text(row["ours_s"]),
        seconds_text(row["theirs_s"]),
        f"{row['speedup']:.2f}x",
        bytes_text(row["ours_added_bytes"] or 0),
        bytes_text(row["theirs_added_bytes"] or 0),
        f"{row.get('memory_ratio', 0):.1f}x",
    )
