"""Random weights drawn where a model is to be, block by block, so that no thread of the host draws.

A CPU thread draws 53 million weights per s: 150 s for each backbone of 8 billion. A device's own
generator gives other numbers from the same seed, so this is for models that no reference checks
whole.
"""

__all__ = ["draw", "shape_of", "undrawn"]

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from alignmeter.architectures.late_weights import Form, Giver, block_lists, hollow
from alignmeter.architectures.transformers_internals import initialise, tie


def draw(
    make: Callable[[], nn.Module],
    *,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    store: Callable[[nn.Module], nn.Module],
) -> nn.Module:
    """The model that ``make`` makes, drawn in ``dtype`` on ``device`` by its generator.

    ``store`` brings a block that has its weights into the form in which it stays: of a model that
    is kept in fewer bytes than it is drawn in, no more than one block is there in full.
    """
    model = shape_of(make, dtype)
    torch.manual_seed(seed)
    filled: set[nn.Module] = set()
    for blocks in block_lists(model):
        for number, block in enumerate(blocks):
            _fill(model, block, device, but=filled)
            blocks[number] = store(block.to(dtype)).to(device)
            filled.update(blocks[number].modules())
    _fill(model, model, device, but=filled)
    tie(model)
    return store(model.to(dtype)).to(device)


def shape_of(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """What ``make`` makes, without weights."""
    with torch.device("meta"), _default(dtype):
        return make()


def undrawn(
    make: Callable[[], nn.Module],
    *,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    form: Form | None = None,
) -> nn.Module:
    """The model of `draw` before it is drawn; `late_of` its backbone draws it."""
    model = shape_of(make, dtype)
    tie(model)
    return hollow(model, dtype, device, _drawing(model, seed), form)


def _drawing(model: nn.Module, seed: int) -> Giver:
    begun = False

    def give(modules: Sequence[nn.Module]) -> None:
        nonlocal begun
        if not begun:
            torch.manual_seed(seed)
            begun = True
        for module in reversed(modules):
            initialise(model, module)

    return give


def _fill(model: nn.Module, part: nn.Module, device: torch.device, *, but: set[nn.Module]) -> None:
    """Give weights to the modules of ``part``, leaves first: a mixer changes what its own layers
    drew. ``but``: those that have them.
    """
    modules = [module for module in part.modules() if module not in but]
    for module in modules:
        if _is_empty(module):
            module.to_empty(device=device, recurse=False)
    for module in reversed(modules):
        initialise(model, module)


def _is_empty(module: nn.Module) -> bool:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return any(tensor.is_meta for tensor in own)


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
