"""Work in a fresh process: ``python -m alignmeter.kernelbench.process``.

The peak of a process holds what the allocator's events leave out: the libraries' own memory, and
pages kept. And a process can be ended when a step would take too long to wait for.
"""

__all__ = ["bounded_step_s", "process_peak_bytes"]

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alignmeter.children import die_with_parent, module_command

_LIMIT_S = 600


def process_peak_bytes(kernel: str, case: str, baseline: str | None) -> int:
    """Largest resident set of a fresh process that runs a forward and a backward pass, in bytes.

    ``baseline``: what runs in place of the kernel. Raises `RuntimeError` if the process fails.
    """
    return int(_answer(["peak", kernel, case, baseline or ""], _LIMIT_S)["peak_bytes"])


def bounded_step_s(
    method: str, architecture: str, seq_len: int, baseline: str, limit_s: float
) -> tuple[float, bool]:
    """Seconds of the baseline's first step on one thread, and whether it ended within ``limit_s``.

    If it did not, ``limit_s`` is what it took at least. Building the models counts against the
    limit, not in the seconds. Raises `RuntimeError` if the process fails.
    """
    words = ["step", method, architecture, str(seq_len), baseline]
    try:
        return float(_answer(words, limit_s)["seconds"]), True
    except subprocess.TimeoutExpired:
        return limit_s, False


def _answer(words: list[str], limit_s: float) -> dict[str, float]:
    command = module_command(__name__, str(os.getpid()), *words)
    done = subprocess.run(  # noqa: S603 - this module
        command, capture_output=True, text=True, timeout=limit_s, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _step(method: str, architecture: str, seq_len: str, baseline: str) -> None:
    import torch

    from alignmeter.accelerators import open_accelerator
    from alignmeter.kernelbench.steps import step_runner

    torch.set_num_threads(1)
    host = open_accelerator("cpu")
    run = step_runner(method, architecture, int(seq_len), baseline, accelerator=host)
    start = time.perf_counter()
    run()
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - start}) + "\n")


def _peak(kernel: str, case: str, baseline: str) -> None:
    import torch

    from alignmeter.kernelbench.baselines import BASELINES
    from alignmeter.kernelbench.compare import find_case, find_kernel, one_pass

    torch.set_num_threads(1)
    entry = find_kernel(kernel)
    chosen = find_case(entry, case)
    run = BASELINES[kernel][baseline].run if baseline else entry.operator
    one_pass(run, chosen, chosen.make("cpu", torch.float32), backward=True)()
    sys.stdout.write(json.dumps({"peak_bytes": _own_peak_bytes()}) + "\n")


def _own_peak_bytes() -> int:
    # Not getrusage's ru_maxrss: a child starts with the size its parent had when it forked.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


_TASKS: dict[str, Callable[..., None]] = {"peak": _peak, "step": _step}

if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    _TASKS[sys.argv[2]](*sys.argv[3:])
