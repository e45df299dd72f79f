"""The private names of torch that this project takes: all of them, and here alone.

`tests/bench/worker/test_torch_internals.py` says which one a release of torch has changed.
"""

__all__ = [
    "FakeTensor",
    "FakeTensorMode",
    "TorchDispatchMode",
    "applied_to_copies",
    "fake_store",
    "forget_library_workspaces",
    "generator_states",
    "grouped_products",
    "has_onednn_bf16",
    "modes_off",
    "native_dropout",
    "plain_tensors",
    "recorded_memory",
    "resized_storages",
    "storage_key",
    "tree_leaves",
]

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses import fake_impls
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    is_traceable_wrapper_subclass,
)
from torch.utils._pytree import tree_leaves


def storage_key(storage: torch.UntypedStorage) -> int:
    """The same number for every Python object of one storage, while that is alive."""
    return int(storage._cdata)


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors with memory of their own: those inside a wrapper, else the tensor itself.

    A wrapper's own storage has no bytes and the size of the whole: of a `DTensor` that of all ranks
    together, of an optimizer's eight-bit state that of fp32.
    """
    if not is_traceable_wrapper_subclass(tensor):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for inner in (getattr(tensor, name) for name in names):
        if isinstance(inner, torch.Tensor):  # a `DTensor` also names its mesh
            yield from plain_tensors(inner)


@contextlib.contextmanager
def resized_storages(seen: Callable[[torch.UntypedStorage], None]) -> Iterator[None]:
    """Within the context ``seen`` is given every storage whose size has changed in place.

    FSDP frees and takes gathered weights so; it is no operator, and no dispatch mode sees it.
    """
    resize = torch.UntypedStorage.resize_

    def resized(storage: torch.UntypedStorage, size: int) -> Any:
        found = resize(storage, size)
        seen(storage)
        return found

    with _replaced(torch.UntypedStorage, {"resize_": resized}):
        yield


def fake_store() -> Any:
    """A store for ``init_process_group("fake", store=...)``, whose ranks need not be there.

    Imports the backend of that name and the shapes of collectives without data.
    """
    from torch.distributed import _meta_registrations  # noqa: F401
    from torch.testing._internal.distributed.fake_pg import FakeStore

    return FakeStore()


@contextlib.contextmanager
def modes_off() -> Iterator[None]:
    """Within the context no dispatch mode is on."""
    with _disable_current_modes():
        yield


@cache
def has_onednn_bf16() -> bool:
    """Whether oneDNN computes bf16 products on this CPU."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def forget_library_workspaces() -> bool:
    """Free what cuBLAS or hipBLAS keeps for each thread; the next product takes it again.

    Whether this torch has such libraries: a build for a CPU or for XPU has not.
    """
    forget: Callable[[], None] | None = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if forget is None:
        return False
    forget()
    return True


@contextlib.contextmanager
def recorded_memory(found: list[int]) -> Iterator[None]:
    """Add the CPU allocator's signed byte counts to ``found``, in order, when the context ends.

    The context uses the profiler's own entry points, because only they take the scopes to record:
    with operators among them the first Mamba step of a process took 18 times as long as without a
    profiler, with user scopes only, twice as long.
    """
    from torch._C._profiler import (
        ProfilerActivity,
        ProfilerConfig,
        ProfilerState,
        RecordScope,
        _ExperimentalConfig,
    )

    profiler: Any = torch.autograd
    config = ProfilerConfig(
        ProfilerState.KINETO,
        False,  # report_input_shapes
        True,  # profile_memory
        False,  # with_stack
        False,  # with_flops
        False,  # with_modules
        _ExperimentalConfig(),
    )
    profiler._prepare_profiler(config, {ProfilerActivity.CPU})
    profiler._enable_profiler(config, {ProfilerActivity.CPU}, {RecordScope.USER_SCOPE})
    try:
        yield
    finally:
        result = profiler._disable_profiler()
        memory = [(e.start_ns(), e.nbytes()) for e in result.events() if e.name() == "[memory]"]
        memory.sort(key=lambda event: event[0])
        found.extend(nbytes for _, nbytes in memory)


@contextlib.contextmanager
def generator_states(
    read: Callable[[], torch.Tensor], restore: Callable[[torch.Tensor], None] | None = None
) -> Iterator[None]:
    """Within the context checkpointed blocks read the CPU generator's state with ``read``, and
    restore it with ``restore`` where that is given: `torch.utils.checkpoint` looks both functions
    up in torch's namespace each time.
    """
    given = {"get_rng_state": read} | ({} if restore is None else {"set_rng_state": restore})
    with _replaced(torch, given):
        yield


@contextlib.contextmanager
def native_dropout() -> Iterator[None]:
    """Within the context dropout is a GPU's operator, which keeps a byte for each value: a CPU
    keeps a factor for each, in the values' dtype.
    """

    def dropout(
        input: torch.Tensor,  # noqa: A002 - torch's name
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,  # noqa: ARG001 - nothing here drops in place
    ) -> torch.Tensor:
        return torch.native_dropout(input, p, True)[0] if training and p else input

    with _replaced(nn.functional, {"dropout": dropout}):
        yield


@contextlib.contextmanager
def grouped_products() -> Iterator[None]:
    """Within the context products of experts have a shape without data in every dtype.

    torch's own shape function knows bf16 only, as the kernel for GPUs did (torch 2.13,
    ``_meta_registrations.py``); the CPU's kernel and later ones take others.
    """
    operator = torch.ops.aten._grouped_mm.default
    fake_impls.op_implementations_dict[operator] = _grouped_product
    try:
        yield
    finally:
        del fake_impls.op_implementations_dict[operator]


def _grouped_product(
    mode: Any,
    _: Any,
    a: torch.Tensor,
    b: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,  # noqa: ARG001 - no dtype has one yet
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Rows in groups of E, which ``offs`` [E] ends: [S, K] x [E, K, N] is [S, N], and of the
    backward pass [M, S] x [S, N] is [E, M, N].
    """
    size = [a.shape[-2], b.shape[-1]]
    if a.dim() == b.dim():
        groups = a.shape[0] if offs is None else offs.shape[0]
        size = [groups, *size]
    with mode:
        return a.new_empty(size, dtype=out_dtype or a.dtype)


@contextlib.contextmanager
def applied_to_copies() -> Iterator[None]:
    """Within the context a module that changes device or dtype gets new tensors.

    torch puts the new data into the tensor that is there, which fake tensors refuse.
    """
    with _replaced(nn.Module, {"_apply": _apply_to_copies}):
        yield


def _apply_to_copies(
    self: nn.Module, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> nn.Module:
    """What ``fn`` changes is replaced, a tied weight once for all its places."""
    replaced: dict[int, nn.Parameter] = {}
    for module in self.modules() if recurse else [self]:
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in replaced:
                with torch.no_grad():
                    made = fn(parameter)
                same = made.dtype == parameter.dtype and made.device == parameter.device
                replaced[id(parameter)] = (
                    parameter if same else nn.Parameter(made, requires_grad=parameter.requires_grad)
                )
            module._parameters[name] = replaced[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fn(buffer)
    return self


@contextlib.contextmanager
def _replaced(place: object, given: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(place, name) for name in given}
    for name, value in given.items():
        setattr(place, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(place, name, value)
