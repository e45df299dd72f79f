"""Every storage that a step makes, when it lived and who owns it.

A dispatch mode sees the outputs of all operators, also in the backward pass. What an operator
allocates and frees inside itself it cannot see: `cpu_events` adds that on the CPU, and elsewhere
this project's operators run in its sight (`alignmeter_kernels.planning.watching`).
"""

__all__ = ["MARKER_BYTES", "AllocationLog", "Storage"]

import contextlib
import itertools
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Self

import torch

from alignmeter.worker.memory.collectives import (
    COMMUNICATION,
    GATHERED,
    is_collective,
    sent_by,
    used_by,
)
from alignmeter.worker.memory.torch_internals import (
    TorchDispatchMode,
    modes_off,
    plain_tensors,
    resized_storages,
    storage_key,
    tree_leaves,
)
from alignmeter.worker.messages import Sent
from alignmeter.worker.progress import advance

MARKER_BYTES = 4099
"""Size of the allocation that marks an operator's begin in the CPU allocator's event stream.

A prime, because tensors of this size do not occur: it is odd, and no product of dimensions.
"""


_SETTLED_S = 0.002
"""After a collective, so that its thread has freed what it is done with: without it peaks on the
CPU differ by a bucket of gradients from step to step.
"""


_WITHOUT_DATA = "meta"
"""Where a fake tensor's storage says that it is."""


@dataclass(kw_only=True, slots=True)
class Storage:
    """One storage: born during operator ``born`` (-1: before all), gone when ``died`` begins.

    ``exchanged``: a collective has read or written it.
    """

    nbytes: int
    born: int
    phase: str | None
    owner: str | None = None
    died: int | None = None
    exchanged: bool = False

    def alive_at(self, operator: int) -> bool:
        """Whether it existed when ``operator`` began."""
        return self.born < operator and (self.died is None or self.died > operator)

    @property
    def owned_by(self) -> str:
        """Whose it is; of what nobody claimed, by how and in which phase it was made."""
        if self.owner is not None:
            return self.owner
        if self.exchanged:
            return COMMUNICATION
        return "workspace" if self.phase == "optimizer" else "activations"


class AllocationLog(TorchDispatchMode):
    """Log of one step; also the step's probe."""

    def __init__(self, device: torch.device, *, markers: bool, block: int = 1) -> None:
        """``block``: sizes are rounded up to a multiple of it, as an allocator does."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.storages: list[Storage] = []
        self.operators: list[str] = []
        self.phase_of: list[str | None] = []
        self.used: dict[str, int] = {}
        self.beside: dict[str, int] = {}
        self.sent: list[Sent] = []
        self._device = device.type
        self._markers, self._block = markers, block
        self._phase: str | None = None
        self._live: dict[int, tuple[Storage, weakref.ref[Any]]] = {}
        self._depth, self._entered = 0, ExitStack()

    def __enter__(self) -> Self:
        """Listen, to storages that change their size too.

        An operator that is watched from inside enters a second time.
        """
        if self._depth == 0:
            self._entered.enter_context(resized_storages(self._resized))
        self._depth += 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *failure: Any) -> None:
        """Listen no longer."""
        self._depth -= 1
        with contextlib.nullcontext() if self._depth else self._entered:
            super().__exit__(*failure)  # type: ignore[no-untyped-call]

    def own(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """Name the owner of tensors, whether they are known already or not."""
        for tensor in tensors:
            for storage in self._seen(tensor):
                if storage.owner is None:
                    storage.owner = owner

    owns = own

    def uses(self, owner: str, nbytes: Iterable[int], *, beside: int = 0) -> None:
        """Keep the most that the owner ever used, and had beside storages of this process."""
        self.used[owner] = max(self.used.get(owner, 0), sum(nbytes))
        self.beside[owner] = max(self.beside.get(owner, 0), beside)

    def aside(self) -> AbstractContextManager[None]:
        """Within the context operators pass by the log: torch compiles again what a mode watches.

        What they allocate is known to the allocator alone.
        """
        return modes_off()

    def own_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> Callable[[], None]:
        """Name every gradient as it is accumulated; call the result to stop."""

        def accumulated(parameter: torch.Tensor) -> None:
            if parameter.grad is not None:
                self.own("gradients", [parameter.grad])

        handles = [p.register_post_accumulate_grad_hook(accumulated) for p in parameters]

        def stop() -> None:
            for handle in handles:
                handle.remove()

        return stop

    def live_bytes(self) -> int:
        """Bytes of the storages known and alive now."""
        return sum(storage.nbytes for storage, _ in self._live.values())

    def live_curve(self, owner: str | None = None) -> list[int]:
        """Bytes known to the log at the begin of each operator, and after the last one.

        ``owner``: those of one owner only.
        """
        change = [0] * (len(self.operators) + 2)
        for storage in self.storages:
            if owner is not None and storage.owner != owner:
                continue
            change[storage.born + 1] += storage.nbytes
            if storage.died is not None:
                change[storage.died] -= storage.nbytes
        return list(itertools.accumulate(change[:-1]))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Operators inside belong to ``name``."""
        advance(name)
        self._phase = name
        yield
        self._phase = None

    def _seen(self, tensor: torch.Tensor) -> list[Storage]:
        """The storages of a tensor: one, or those inside a wrapper."""
        plain = (t for t in plain_tensors(tensor) if t.device.type == self._device)
        return [self._stored(t.untyped_storage()) for t in plain]

    def _stored(self, storage: torch.UntypedStorage) -> Storage:
        key = storage_key(storage)
        if key in self._live:
            return self._live[key][0]
        nbytes = -(-storage.nbytes() // self._block) * self._block
        entry = Storage(nbytes=nbytes, born=len(self.operators) - 1, phase=self._phase)

        def died(_: object) -> None:
            entry.died = len(self.operators)
            self._live.pop(key, None)

        self.storages.append(entry)
        self._live[key] = entry, weakref.ref(storage, died)
        return entry

    def _resized(self, storage: torch.UntypedStorage) -> None:
        """What it was is gone. What it is now are weights of all ranks, if it is anything."""
        key = storage_key(storage)
        if storage.device.type not in (self._device, _WITHOUT_DATA):
            return
        before, _ = self._live.pop(key, (None, None))
        if before is not None:
            before.died = len(self.operators)
        self._stored(storage).owner = GATHERED

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operator and note what it returns."""
        if self._markers and self.operators and is_collective(self.operators[-1]):
            time.sleep(_SETTLED_S)
        self.operators.append(str(func))
        self.phase_of.append(self._phase)
        if self._markers:
            torch.empty(MARKER_BYTES, dtype=torch.uint8)
        before = len(self.storages)
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, torch.Tensor):
                self._seen(leaf)
        self._exchange(func, args, kwargs or {}, output)
        if func.namespace == "alignmeter":
            for storage in self.storages[before:]:
                if storage.died is not None:  # made and freed inside the operator
                    storage.owner = "workspace"
        return output

    def _exchange(self, func: Any, args: tuple[Any, ...], kwargs: Any, output: Any) -> None:
        """Note what the operator has of a collective, or of FSDP around one."""
        sent = sent_by(func, args)
        if sent is not None:
            self.sent.append(Sent(self._phase, *sent))
        for owner, tensors in used_by(func, args, kwargs, output):
            if owner != COMMUNICATION:
                self.own(owner, tensors)
                continue
            for tensor in tensors:
                for storage in self._seen(tensor):
                    storage.exchanged = True
