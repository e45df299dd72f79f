"""Random weights drawn where a model is to be, block by block, so that no thread of the host draws.

A CPU thread draws 53 million weights per s: 150 s for each backbone of 8 billion. A device's own
generator gives other numbers from the same seed, so this is for models that no reference checks
whole.
"""

__all__ = ["Late", "draw", "hollow", "late_of", "shape_of", "undrawn"]

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.transformers_internals import initialise, tie

_Giver = Callable[[Sequence[nn.Module]], None]


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
    for blocks in _lists(model):
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


def _lists(model: nn.Module) -> list[nn.ModuleList]:
    return [module for module in model.modules() if isinstance(module, nn.ModuleList)]


class Late:
    """A model that has its modules on their device and no bytes of weights yet: adapters can be put
    on it and heads, and then `fill` gives it weights block by block.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, give: _Giver) -> None:
        """``model`` has the shapes only. Its modules are remembered as they are now: what is put
        into it later has weights of its own. ``give``: writes the weights of those modules.
        """
        self._dtype, self._give = dtype, give
        self._blocks = {b: list(b.modules()) for blocks in _lists(model) for b in blocks}
        inside = {module for modules in self._blocks.values() for module in modules}
        self._rest = [module for module in model.modules() if module not in inside]

    def fill(self, block: nn.Module | None) -> None:
        """That block, and then the next; ``None``: what is in none, after the last of them."""
        modules = self._rest if block is None else self._blocks.pop(block)
        for module in modules:
            for parameter in module.parameters(recurse=False):
                parameter.untyped_storage().resize_(parameter.nbytes)
        self._give(modules)
        for module in modules:
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    setattr(module, name, buffer.to(self._dtype))


_LATE = "_late_weights"


def undrawn(
    make: Callable[[], nn.Module], *, seed: int, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """The model of `draw` before it is drawn; `late_of` its backbone draws it."""
    model = shape_of(make, dtype)
    tie(model)
    return hollow(model, dtype, device, _drawing(model, seed))


def _drawing(model: nn.Module, seed: int) -> _Giver:
    begun = False

    def give(modules: Sequence[nn.Module]) -> None:
        nonlocal begun
        if not begun:
            torch.manual_seed(seed)
            begun = True
        for module in reversed(modules):
            initialise(model, module)

    return give


def hollow(model: nn.Module, dtype: torch.dtype, device: torch.device, give: _Giver) -> nn.Module:
    """``model``, which has the shapes only (`shape_of`) and is tied, as `Late` has it: on the
    device, with no bytes. `late_of` its backbone fills it by ``give``.
    """
    late = Late(model, dtype, give)
    empty: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in empty:  # a tied one keeps its places
                empty[id(parameter)] = _without_bytes(parameter, device)
            setattr(module, name, empty[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device=device))
    backbone: Any = model.base_model
    setattr(backbone, _LATE, (late,))  # in a tuple: no child of what it holds
    return model


def late_of(backbone: nn.Module) -> Late | None:
    """Who fills the backbone, asked once; ``None`` for one that has its weights."""
    found: tuple[Late] | None = backbone.__dict__.pop(_LATE, None)
    return None if found is None else found[0]


def _without_bytes(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
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
