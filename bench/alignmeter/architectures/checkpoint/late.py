"""Weights of a checkpoint that ranks share, read block by block: nobody has the model whole."""

__all__ = ["unread"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from alignmeter.architectures.checkpoint.config import made, open_config
from alignmeter.architectures.checkpoint.weights import Looked, look
from alignmeter.architectures.drawing import shape_of
from alignmeter.architectures.late_weights import Form, hollow
from alignmeter.architectures.transformers_internals import initialise, tie, wide_parts
from alignmeter.errors import CellError


def unread(
    config: Path,
    files: Sequence[Path],
    *,
    dtype: torch.dtype,
    device: torch.device,
    looked: Callable[[Looked], None],
    form: Form | None = None,
) -> nn.Module | None:
    """The causal LM of ``config`` and ``files`` in ``dtype`` before it is read, which `late_of` its
    backbone does.

    ``looked``: is told what was seen of each block's weights, before they are in their ``form``.
    ``None`` where `load_weights` has to read them, for transformers gives tensors other names, or
    keeps some in a wider dtype.
    """
    made_as = open_config(config)
    model = shape_of(lambda: made(made_as, dtype=dtype), dtype)
    tie(model)
    places = {name: file for file in files for name in _names(file)}
    if wide_parts(model) or not _are_its_own(model, places):
        return None
    return hollow(model, dtype, device, _Reading(model, places, looked).give, form)


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


def _are_its_own(model: nn.Module, places: Mapping[str, Path]) -> bool:
    """Whether each file's tensor is one of the model's, and each of the model's is in a file once,
    under one of its names where it is tied.
    """
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    known = {name for every in names.values() for name in every}
    held = all(any(name in places for name in every) for every in names.values())
    return held and places.keys() <= known and not _persistent_buffers(model)


def _persistent_buffers(model: nn.Module) -> bool:
    return len(model.state_dict()) > sum(1 for _ in model.named_parameters(remove_duplicate=False))


class _Reading:
    """Gives modules what the files have under their names."""

    def __init__(
        self, model: nn.Module, places: Mapping[str, Path], looked: Callable[[Looked], None]
    ) -> None:
        self._model, self._places, self._looked = model, places, looked
        self._names = {module: name for name, module in model.named_modules()}

    def give(self, modules: Sequence[nn.Module]) -> None:
        """Raises `CellError` for a tensor that is not there any more, or of another shape."""
        for module in reversed(modules):
            if next(module.buffers(recurse=False), None) is not None:
                initialise(self._model, module)  # no file has them
        read = dict(self._tensors(modules))
        for name, parameter in read.items():
            self._read(name, parameter)
        self._looked(look(read.items()))

    def _tensors(self, modules: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
        """A tied one under the name that a file has it by."""
        for module in modules:
            for own, parameter in module.named_parameters(recurse=False):
                name = ".".join(filter(None, (self._names[module], own)))
                if name in self._places:
                    yield name, parameter

    def _read(self, name: str, parameter: nn.Parameter) -> None:
        try:
            with safe_open(self._places[name], framework="pt") as opened:
                tensor = opened.get_tensor(name)
            if tensor.shape != parameter.shape:
                raise ValueError(f"it has the shape {[*tensor.shape]}")
        except Exception as error:  # safetensors' errors have no class of their own but one
            raise CellError(
                "crashed",
                "checkpoint_changed",
                f"{name} cannot be read from {self._places[name].name}: {error}",
            ) from error
        with torch.no_grad():
            parameter.copy_(tensor)
