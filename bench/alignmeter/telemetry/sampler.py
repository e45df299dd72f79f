"""The sampler: a process of its own that reads one device at a fixed rate into a ring.

It is asked to stop and never killed: AMD SMI holds a lock between processes while it reads, and a
killed holder would leave it locked for everyone. It also stops when its parent is gone.
"""

__all__ = ["Sampled", "SamplerProcess"]

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from alignmeter.children import module_command
from alignmeter.telemetry.base import Sample
from alignmeter.telemetry.ring import Ring
from alignmeter.text import shortened

_STOP_S = 2.0
"""How long a sampler may take to stop: one period and one read."""
_LEFT_BEHIND: list[subprocess.Popen[bytes]] = []
"""Samplers stuck in a driver: they end when it answers; until then somebody must know them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """What a sampler found. ``failure``: code and sentence, if it did not run to its end.

    ``overwritten``: samples that were lost because the ring was full. ``cpu_s``: CPU time of
    sampling, ``start_cpu_s``: of what came before the first sample.
    """

    samples: list[Sample] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    overwritten: int = 0
    start_cpu_s: float = 0.0
    cpu_s: float = 0.0
    failure: tuple[str, str] | None = None


class SamplerProcess:
    """The parent's end: starts at once, `stop` gives what was sampled."""

    def __init__(
        self, accelerator: str, device: str, *, pid: int, hz: float, longest_s: float
    ) -> None:
        """Sample ``device`` for the process ``pid``; the ring has room for ``longest_s``."""
        # Memory with a handle and no name: nothing is left behind, whoever dies.
        self._handle = os.memfd_create("alignmeter-ring")
        self._errors = os.memfd_create("alignmeter-sampler-errors")
        self._ring = Ring(self._handle, capacity=int(hz * longest_s) + 1)
        # Its own session: Ctrl-C is for the parent, which then asks the sampler to stop.
        self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
            module_command(
                "alignmeter.telemetry.sampler", str(self._handle), accelerator, device, str(pid),
                str(hz), str(os.getpid()),
            ),
            pass_fds=[self._handle],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def written(self) -> int:
        """How many samples there are so far."""
        return self._ring.written

    def stop(self) -> Sampled:
        """Ask it to end, wait a little, and return what is in the ring, however it ended."""
        self._ring.stop()
        failure = None
        try:
            status = self._process.wait(_STOP_S)
            if status != 0:
                failure = "sampler_ended", f"the sampler ended with status {status}{self._said()}"
        except subprocess.TimeoutExpired:
            _LEFT_BEHIND.append(self._process)
            failure = "sampler_hung", f"the driver kept the sampler for more than {_STOP_S:g} s"
        samples = self._ring.samples()
        found = Sampled(
            samples=samples,
            missing=self._ring.missing(),
            overwritten=self._ring.written - len(samples),
            start_cpu_s=self._ring.start_cpu_s,
            cpu_s=self._ring.cpu_s,
            failure=failure,
        )
        self._ring.close()
        os.close(self._handle)
        os.close(self._errors)
        return found

    def _said(self) -> str:
        size = os.fstat(self._errors).st_size
        lines = os.pread(self._errors, size, 0).decode(errors="replace").strip().splitlines()
        return f": {shortened(lines[-1], 300)}" if lines else ""


def _main(arguments: list[str]) -> None:
    from alignmeter.telemetry import open_telemetry

    handle, accelerator, device, pid, hz, parent = arguments
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ring = Ring(int(handle))
    telemetry = open_telemetry(accelerator, int(pid))
    missing: dict[str, str] = {}
    period, due = 1.0 / float(hz), time.monotonic()
    while not ring.stopping and os.getppid() == int(parent):
        sample = telemetry.read(device)
        ring.append(sample, time.process_time())
        if not sample.missing.keys() <= missing.keys():
            missing = {**sample.missing, **missing}
            ring.note(missing)
        # A sample that came late does not make the next ones come faster.
        due = max(due + period, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    telemetry.close()


if __name__ == "__main__":
    _main(sys.argv[1:])
