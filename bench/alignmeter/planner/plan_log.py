"""The log of a step without data: what allocators, libraries and collectives add to it."""

__all__ = ["PlanLog"]

from typing import Any

import torch

from alignmeter.accelerators.base import Accelerator
from alignmeter.architectures.tracing import repeats
from alignmeter.planner.workspace import cpu_workspace, gpu_workspace
from alignmeter.records.ranks import Collective
from alignmeter.worker.memory.allocations import AllocationLog, Storage
from alignmeter.worker.memory.collectives import COMMUNICATION, sent_by

_OUTSIDE = "outside"
"""Of collectives that no phase makes."""


class PlanLog(AllocationLog):
    """Sizes as the accelerator's allocator rounds them, and what operators hold inside.

    ``communication``: phase -> kind of collective -> what it sends, those of calls that are not
    traced included.
    """

    def __init__(self, device: torch.device, accelerator: Accelerator) -> None:
        super().__init__(device, markers=False, block=accelerator.block_bytes)
        self.communication: dict[str, dict[str, Collective]] = {}
        self._on_host = accelerator.planned_chip is None
        self._workspace = cpu_workspace if self._on_host else gpu_workspace

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """As the log's, with the operator's workspace beside what it makes."""
        if func.namespace == "prim":  # a fake tensor is asked for its device
            return func(*args, **(kwargs or {}))
        sent = sent_by(func, args)
        if sent is not None:
            self._send(*sent)
        self._hold(self._workspace(func, args, kwargs or {}), "workspace")
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _send(self, kind: str, nbytes: int) -> None:
        of_phase = self.communication.setdefault(self._phase or _OUTSIDE, {})
        before, times = of_phase.get(kind, Collective(calls=0, bytes=0)), repeats()
        of_phase[kind] = Collective(calls=before.calls + times, bytes=before.bytes + times * nbytes)
        if self._on_host:
            self._hold(nbytes, COMMUNICATION)

    def _hold(self, nbytes: int, owner: str) -> None:
        """Bytes that the operator takes and gives back, which begins now."""
        if nbytes:
            at = len(self.operators)
            self.storages.append(
                Storage(nbytes=nbytes, born=at, died=at + 1, phase=self._phase, owner=owner)
            )
