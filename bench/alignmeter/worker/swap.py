"""How much of a process is swapped out."""

__all__ = ["swapped_bytes"]

from pathlib import Path

from alignmeter.telemetry.kernel_files import text

_PROC = Path("/proc")


def swapped_bytes(pid: int, proc: Path = _PROC) -> int | None:
    """Memory of the process in swap (VmSwap of proc(5)), in bytes; ``None`` if nobody says."""
    for line in text(proc / str(pid) / "status").splitlines():
        if line.startswith("VmSwap:"):
            return int(line.split()[1]) * 1024
    return None
