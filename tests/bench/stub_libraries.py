"""Vendors' libraries without their hardware: C stubs, built here, driven by a scenario and a clock.

The vendors' own Python clients load them; see ``tests/stubs/scenario.h`` for what they act on.
"""

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "stubs"
NO_COMPILER = "no C compiler (cc) here: install one to test against the vendors' clients"


def compiler() -> str | None:
    return shutil.which("cc")


def build_library(output: Path, *sources: Path, define: str = "STUB") -> Path:
    """A shared library named as ``output``, which its clients find by that name."""
    compiler_path = compiler()
    assert compiler_path is not None, NO_COMPILER
    output.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [compiler_path, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden",
         f"-I{SOURCES}", f"-D{define}", f"-Wl,-soname,{output.name}", "-o", output, *sources],
        check=True,
    )  # fmt: skip
    return output


class Clock:
    """The stubs' time, in a file that they map: set here, seen by every process at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack("<Q", 0))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.now_s = 0.0

    def set(self, seconds: float) -> None:
        self.now_s = seconds
        self._page[:8] = struct.pack("<Q", round(seconds * 1e9))

    def advance(self, seconds: float) -> None:
        self.set(self.now_s + seconds)


@dataclass
class Scenario:
    """What the library says. ``devices``: one dict of keys per device; ``trace``: its steps."""

    devices: list[dict[str, object]]
    library: dict[str, object] = field(default_factory=dict)
    traces: dict[int, list[tuple[float, float, int, int]]] = field(default_factory=dict)
    """Device -> (from s, power W, used bytes, throttle bits), in order of time."""

    def write(self, path: Path) -> Path:
        lines = [f"set devices {len(self.devices)}"]
        lines += [f"set {key} {value}" for key, value in self.library.items()]
        for i, device in enumerate(self.devices):
            lines += [f"dev {i} {key} {value}" for key, value in device.items()]
            for step in self.traces.get(i, [(0.0, 100.0, 2**30, 0)]):
                lines.append("at {} {:.9g} {} {} {}".format(i, *step))
        path.write_text("\n".join(lines) + "\n")
        return path


def square_wave(
    period_s: float, *, high_w: float, low_w: float, share: float, until_s: float
) -> list[tuple[float, float, int, int]]:
    """High for ``share`` of each period, then low; 1 GiB held throughout."""
    steps = []
    for k in range(int(until_s / period_s) + 1):
        steps.append((k * period_s, high_w, 2**30, 0))
        steps.append(((k + share) * period_s, low_w, 2**30, 0))
    return steps
