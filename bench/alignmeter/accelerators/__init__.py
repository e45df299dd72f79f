"""Accelerators: one file per vendor behind `base.Accelerator`; vendor questions stay in there."""

__all__ = [
    "answering",
    "available",
    "broken_by_fork",
    "device_or_host",
    "devices_hidden",
    "library_workspace_bytes",
    "missing_text",
    "open_accelerator",
    "passed_over",
    "too_few_text",
]

import contextlib
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager

from alignmeter.accelerators.base import Accelerator, Device
from alignmeter.accelerators.device_query import query
from alignmeter.accelerators.machines import ranks_here, this_machine
from alignmeter.children import variables
from alignmeter.registry import ACCELERATORS, load
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.device_nodes import device_nodes
from alignmeter.telemetry.timeout import WithTimeout


def open_accelerator(name: str) -> Accelerator:
    """The accelerator of that name; ``auto`` gives the first one that is on this machine.

    No device is opened. Raises `InputError` for a name without a row.
    """
    if name == "auto":
        name = available()[0]
    accelerator: Accelerator = load(ACCELERATORS, name)
    return accelerator


def available() -> list[str]:
    """Names of the accelerators that are here, in the order of ``auto``; the CPU always is.

    Devices are opened in another process, not in this one.
    """
    return [name for name in ACCELERATORS if query(name).missing is None]


def missing_text(name: str) -> str | None:
    """Why ``name`` cannot be used here and what is here instead; ``None`` if it can."""
    reason = query(name).missing
    if reason is None:
        return None
    return f"{name} is not on this machine ({reason}); here: {', '.join(available())}"


def too_few_text(name: str, count: int) -> str | None:
    """Why ``count`` devices of a kind that is here cannot take a step together; ``None`` if they
    can. Processes share the host's own processor, however many they are.
    """
    if count == 1:
        return None
    accelerator = open_accelerator(name)
    if not accelerator.collectives:
        return f"torch.distributed has no backend for {name} devices here"
    machines = this_machine().count
    if count % machines:
        return f"{count} devices are not as many on each of {machines} machines"
    here, wanted = len(query(name).devices), ranks_here(count)
    if not accelerator.device_nodes or here >= wanted:
        return None
    each = "" if machines == 1 else " on each machine"
    return f"the step needs {wanted} {name} devices{each}, and this machine has {here}"


def passed_over(chosen: str) -> list[str]:
    """A sentence for each kind of device that is here and that ``auto`` passed over for ``chosen``,
    since torch cannot use it.
    """
    said = []
    for name in list(ACCELERATORS)[: list(ACCELERATORS).index(chosen)]:
        if not device_nodes(open_accelerator(name).device_nodes):
            continue
        reason = query(name).missing
        telemetry = WithTimeout(functools.partial(open_telemetry, name))
        keys = telemetry.devices() if reason is not None else []
        with contextlib.suppress(TimeoutError):
            for device in keys[:1]:
                here = telemetry.identity(device).name
                said.append(f"{here} is here and not used: {reason}; cells run on {chosen}")
        telemetry.close()
    return said


def device_or_host(name: str) -> Device:
    """The device that a worker of that accelerator computes on; the host's CPU if there is none."""
    return (query(name).devices or query("cpu").devices)[0]


_MULTIPLYING = 2
"""Threads of a training step that multiply: the forward pass's and the backward pass's."""


def library_workspace_bytes(chip: str | None) -> int:
    """Bytes that the library of matrix products keeps on that chip once a step has run; 0 where no
    library is known to keep any.
    """
    found: dict[str, int] = {}
    for name in ACCELERATORS:
        known = open_accelerator(name).library_workspaces
        found |= {start: size for start, size in known.items() if (chip or "").startswith(start)}
    return _MULTIPLYING * found[max(found, key=len)] if found else 0


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Within the context libraries that look for a device while they are imported open none."""
    with contextlib.ExitStack() as stack:
        for name in ACCELERATORS:
            stack.enter_context(open_accelerator(name).answering())
        yield


def broken_by_fork() -> bool:
    """Whether this process was forked from one that had opened a device, and so can use none."""
    return any(open_accelerator(name).broken_by_fork() for name in ACCELERATORS)


def devices_hidden() -> AbstractContextManager[None]:
    """Within the context no library finds a device, so that none opens one while it is imported.

    For the process that drives workers. What hides a device is known of CUDA and of ROCm.
    """
    given: dict[str, str] = {}
    for name in ACCELERATORS:
        given |= open_accelerator(name).hiding
    return variables(given)
