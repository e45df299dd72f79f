"""Peak of a whole process that runs one kernel once: ``python -m alignmeter.kernelbench.process``.

What the allocator's events leave out is in it: the libraries' own memory, and pages kept.
"""

__all__ = ["process_peak_bytes"]

import json
import subprocess
import sys
from pathlib import Path

_LIMIT_S = 600


def process_peak_bytes(kernel: str, case: str, baseline: str | None) -> int:
    """Largest resident set of a fresh process that runs a forward and a backward pass, in bytes.

    ``baseline``: what runs in place of the kernel. Raises `RuntimeError` if the process fails.
    """
    command = [sys.executable, "-P", "-m", __name__, kernel, case, baseline or ""]
    done = subprocess.run(  # noqa: S603 - this module
        command, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


def _main(kernel: str, case: str, baseline: str) -> None:
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


if __name__ == "__main__":
    _main(*sys.argv[1:])
