"""What a process of its own sees of an accelerator, so that the one that asks opens no device.

Who drives workers must not hold a device: its context takes memory there, and a device in exclusive
mode has room for one process.
"""

__all__ = ["Found", "query"]

import subprocess
import sys
from dataclasses import dataclass
from functools import cache

import msgspec

from alignmeter.accelerators.base import Accelerator, Device
from alignmeter.registry import ACCELERATORS, Row, load

_TIMEOUT_S = 180.0
"""The process waits for torch's import: seconds, and minutes on a cold disk."""
_ANSWER = "from alignmeter.accelerators.device_query import answer; answer()"
_SAID = 300
"""Characters that are kept of what a process said before it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """``missing``: why no device can be used and what would enable it; ``None`` if one can be.

    ``devices``: the visible ones in torch's order. Workers compute on the first.
    """

    missing: str | None
    devices: tuple[Device, ...] = ()


@cache
def query(name: str) -> Found:
    """What there is of the accelerator of that name, asked once in the life of this process.

    A process that fails or hangs is a reason why the accelerator cannot be used. Raises
    `InputError` for a name without a row.
    """
    accelerator: Accelerator = load(ACCELERATORS, name)
    reason = accelerator.ruled_out()
    if reason is not None:
        return Found(missing=reason)
    if not accelerator.device_nodes:  # there is nothing that could be opened
        return _seen(accelerator)
    return _asked(ACCELERATORS[name].path)


def _seen(accelerator: Accelerator) -> Found:
    return Found(missing=accelerator.missing(), devices=tuple(accelerator.devices()))


def _asked(path: str) -> Found:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [sys.executable, "-P", "-c", _ANSWER, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"torch did not find its devices within {_TIMEOUT_S:g} s; look into the kernel log"
        return Found(missing=text)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:_SAID]
        return Found(missing=f"looking for devices ended with status {done.returncode}: {said}")
    # Libraries print as they like; the answer is the last line.
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Found)


def answer() -> None:
    """In the process that is asked: print what it sees of the accelerator at ``module:object``."""
    path = sys.argv[1]
    found = _seen(load({path: Row(path=path)}, path))
    sys.stdout.write(f"\n{msgspec.json.encode(found).decode()}\n")
