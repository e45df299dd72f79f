"""Random weights drawn where a model is to be, block by block, so that no thread of the host draws.

A CPU thread draws 53 million weights per s: 150 s for each backbone of 8 billion. A device's own
generator gives other numbers from the same seed, so this is for models that no reference checks
whole.
"""

__all__ = ["Undrawn", "draw", "undrawn", "undrawn_of"]

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

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
    model = _shape_of(make, dtype)
    torch.manual_seed(seed)
    filled: set[nn.Module] = set()
    for blocks in _lists(model):
        for number, block in enumerate(blocks):
            _fill(model, block, device, but=filled)
            blocks[number] = store(block.to(dtype)).to(device)
            filled.update(blocks[number].modules())
    _fill(model, model, device, but=filled)
    tie(model)
    return store(model.to(dtype)).to(device)


def _shape_of(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    with torch.device("meta"), _default(dtype):
        return make()


def _lists(model: nn.Module) -> list[nn.ModuleList]:
    return [module for module in model.modules() if isinstance(module, nn.ModuleList)]


class Undrawn:
    """A model that has its modules on their device and no bytes of weights yet: adapters can be put
    on it and heads, and then `fill` draws block by block what `draw` would have drawn.
    """

    def __init__(self, model: nn.Module, seed: int, dtype: torch.dtype) -> None:
        """``model`` has the shapes only, as `_shape_of` gives them. Its modules are remembered as
        they are now: what is put into it later has weights of its own.
        """
        self._seed, self._dtype, self._model = seed, dtype, model
        self._blocks = {b: list(b.modules()) for blocks in _lists(model) for b in blocks}
        inside = {module for modules in self._blocks.values() for module in modules}
        self._rest = [module for module in model.modules() if module not in inside]
        self._begun = False

    def fill(self, block: nn.Module | None) -> None:
        """Draw that block, and then the next; ``None``: what is in none, after the last of them."""
        if not self._begun:
            torch.manual_seed(self._seed)
            self._begun = True
        modules = self._rest if block is None else self._blocks.pop(block)
        for module in modules:
            for parameter in module.parameters(recurse=False):
                parameter.untyped_storage().resize_(parameter.nbytes)
        for module in reversed(modules):
            initialise(self._model, module)
        for module in modules:
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    setattr(module, name, buffer.to(self._dtype))


_UNDRAWN = "_undrawn"


def undrawn(
    make: Callable[[], nn.Module], *, seed: int, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """The model of `draw` before it is drawn; `undrawn_of` its backbone fills it."""
    model = _shape_of(make, dtype)
    tie(model)
    remembered = Undrawn(model, seed, dtype)
    hollow: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in hollow:  # a tied one keeps its places
                hollow[id(parameter)] = _hollow(parameter, device)
            setattr(module, name, hollow[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device=device))
    backbone: Any = model.base_model
    setattr(backbone, _UNDRAWN, (remembered,))  # in a tuple: no child of what it holds
    return model


def undrawn_of(backbone: nn.Module) -> Undrawn | None:
    """Who fills the backbone, asked once; ``None`` for one that has its weights."""
    found: tuple[Undrawn] | None = backbone.__dict__.pop(_UNDRAWN, None)
    return None if found is None else found[0]


def _hollow(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    """On the device, with no bytes."""
    empty = torch.empty_like(parameter, device=device)
    empty.untyped_storage().resize_(0)
    return nn.Parameter(empty, requires_grad=parameter.requires_grad)


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
