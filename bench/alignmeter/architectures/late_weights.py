"""Models whose weights come later, block by block: ranks share each before they have the next."""

__all__ = ["Form", "Giver", "Late", "block_lists", "hollow", "late_of"]

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

Giver = Callable[[Sequence[nn.Module]], None]
"""Writes the weights of modules that have their bytes."""
_LATE = "_late_weights"


class Late(Protocol):
    """A model that has its modules on their device and no bytes of weights yet: adapters can be put
    on it and heads, and then `fill` gives it weights block by block.

    Its modules are remembered as they are now: what is put into it later has weights of its own.
    """

    def fill(self, block: nn.Module | None) -> None:
        """That block, and then the next; ``None``: what is in none, after the last of them."""


class _Plain:
    """The modules of ``model``, which has the shapes only, get bytes, and ``give`` writes them."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, give: Giver) -> None:
        self._dtype, self._give = dtype, give
        self._blocks = {block: list(block.modules()) for block in _blocks(model)}
        inside = {module for modules in self._blocks.values() for module in modules}
        self._rest = [module for module in model.modules() if module not in inside]

    def fill(self, block: nn.Module | None) -> None:
        """As `Late`."""
        modules = self._rest if block is None else self._blocks.pop(block)
        for module in modules:
            for parameter in module.parameters(recurse=False):
                parameter.untyped_storage().resize_(parameter.nbytes)
        self._give(modules)
        for module in modules:
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    setattr(module, name, buffer.to(self._dtype))


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How a model's weights are kept where they are not kept as they are drawn or read.

    ``store``: brings a block, or what is in none, into it; of shapes it makes shapes. ``settle``:
    is told of modules that such weights have been moved to.
    """

    store: Callable[[nn.Module], nn.Module]
    settle: Callable[[Iterable[nn.Module]], None]


class _Stored:
    """The modules of ``model``, in their form, get the weights of ``plain``'s: no more than one
    block is there in full.
    """

    def __init__(
        self, model: nn.Module, plain: nn.Module, filled: Late, form: Form, device: torch.device
    ) -> None:
        self._plain, self._filled, self._form, self._device = plain, filled, form, device
        blocks = list(_blocks(model))
        places = [(held, n) for held in block_lists(plain) for n in range(len(held))]
        self._places = dict(zip(blocks, places, strict=True))
        self._modules = {block: dict(block.named_modules()) for block in blocks}
        inside = {module for named in self._modules.values() for module in named.values()}
        self._rest = {n: m for n, m in model.named_modules() if m not in inside}

    def fill(self, block: nn.Module | None) -> None:
        """As `Late`."""
        if block is None:
            self._filled.fill(None)
            self._move(self._plain, self._rest)
            return
        held, number = self._places.pop(block)
        plain = held[number]
        self._filled.fill(plain)
        held[number] = nn.Identity()
        self._move(plain, self._modules.pop(block))

    def _move(self, plain: nn.Module, modules: dict[str, nn.Module]) -> None:
        stored = dict(self._form.store(plain).to(self._device).named_modules())
        for path, module in modules.items():
            for name, weight in list(module.named_parameters(recurse=False)):
                found = stored[path].get_parameter(name)
                found.requires_grad_(weight.requires_grad)
                module.register_parameter(name, found)
            for name, _ in list(module.named_buffers(recurse=False)):
                setattr(module, name, stored[path].get_buffer(name))
        self._form.settle(modules.values())


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    for blocks in block_lists(model):
        yield from blocks


def block_lists(model: nn.Module) -> list[nn.ModuleList]:
    """Where its blocks are."""
    return [module for module in model.modules() if isinstance(module, nn.ModuleList)]


def hollow(
    model: nn.Module,
    dtype: torch.dtype,
    device: torch.device,
    give: Giver,
    form: Form | None = None,
) -> nn.Module:
    """``model``, which has the shapes only and is tied, as `Late` has it: on the device, with no
    bytes. `late_of` its backbone fills it by ``give``, and in its ``form``.
    """
    late: Late = _Plain(model, dtype, give)
    kept = None if form is None else form.store(copy.deepcopy(model))
    _empty(model, device)
    if form is not None and kept is not None:
        _empty(kept, device)
        model, late = kept, _Stored(kept, model, late, form, device)
    backbone: Any = model.base_model
    setattr(backbone, _LATE, (late,))  # in a tuple: no child of what it holds
    return model


def _empty(model: nn.Module, device: torch.device) -> None:
    """Put tensors without bytes in place of shapes."""
    empty: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in empty:  # a tied one keeps its places
                empty[id(parameter)] = _without_bytes(parameter, device)
            setattr(module, name, empty[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device=device))


def late_of(backbone: nn.Module) -> Late | None:
    """Who fills the backbone, asked once; ``None`` for one that has its weights."""
    found: tuple[Late] | None = backbone.__dict__.pop(_LATE, None)
    return None if found is None else found[0]


def _without_bytes(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    empty = torch.empty_like(parameter, device=device)
    empty.untyped_storage().resize_(0)
    found = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    found.__dict__.update(vars(parameter))  # what is noted on it
    return found
