"""A checkpoint's safetensors: which files are read, and what their headers say they hold."""

__all__ = ["Tensor", "element_count", "equal", "read_headers", "weight_files"]

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alignmeter.architectures.checkpoint.config import read_json
from alignmeter.architectures.checkpoint.refusal import named, one_line, refused

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names that transformers looks for, in this order."""
_PICKLED = ("*.bin", "*.pt", "*.pth")
_OTHERS = ("*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.ckpt*", "*.npz")
_ROWS = 1024
"""Rows of two matrices that are compared at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """What a header says of one tensor. ``dtype`` in safetensors' own words: ``F32``, ``BF16``."""

    shape: tuple[int, ...]
    dtype: str
    file: Path


def weight_files(folder: Path, model: str) -> tuple[list[Path], dict[str, str]]:
    """The files that hold the weights, and tensor -> file of the index; empty without one.

    No files where the folder holds no weights of any kind. Raises `InputError` if what it holds is
    in another format, or a shard is not there.
    """
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE], {}
    if (folder / _INDEX).is_file():
        whole = read_json(folder / _INDEX, model)
        index = whole.get("weight_map")
        if not isinstance(index, dict) or not index or not all(map(_is_name, index.values())):
            raise refused(model, f"{_INDEX}: weight_map must give the file of each tensor")
        if not isinstance(whole.get("metadata"), dict):  # get_checkpoint_shard_files asks for it
            raise refused(
                model,
                f'{_INDEX} has no metadata, which transformers asks for; add "metadata": {{}}',
            )
        names = sorted(set(index.values()))
        lost = [name for name in names if not (folder / name).is_file()]
        if lost:
            raise refused(
                model,
                f"{named(lost[0])} {_state(folder / lost[0])} ({len(lost)} of {len(names)} "
                f"shards that {_INDEX} names are no files); fetch the checkpoint again",
            )
        return [folder / name for name in names], index
    text = _without_weights(folder)
    if text is not None:
        raise refused(model, text)
    return [], {}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and Path(value).name == value


def _state(path: Path) -> str:
    """What is the case with a path that is no file."""
    if path.is_symlink() and not path.exists():
        return "is a link to nothing"
    if not path.exists():
        return "is not there"
    return "is a folder" if path.is_dir() else "is no regular file"


def _without_weights(folder: Path) -> str | None:
    for name in (_WHOLE, _INDEX):
        if os.path.lexists(folder / name):
            return f"{name} {_state(folder / name)}; want a file: fetch the checkpoint again"
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if others:
        return (
            f"{named(others[0])} is there, but neither {_WHOLE} nor {_INDEX}, which names shards; "
            "fetch the checkpoint again"
        )
    pickled = sorted(path.name for kind in _PICKLED for path in folder.glob(kind))
    if pickled:
        return (
            f"no *.safetensors file, only {named(pickled[0])}: pickled weights can run code when "
            "they are loaded and are not read; save them with "
            "save_pretrained(safe_serialization=True)"
        )
    others = sorted(path.name for kind in _OTHERS for path in folder.glob(kind))
    if others:
        return f"no *.safetensors file, only {named(others[0])}, a format that is not read"
    return None


def read_headers(files: Sequence[Path], index: Mapping[str, str], model: str) -> dict[str, Tensor]:
    """Name -> tensor of all files; no weights are read.

    Raises `InputError` for a file that is damaged, a tensor that two files hold, and where files
    and index disagree.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in _header(file, model):
            if name in found:
                raise refused(
                    model,
                    f"{named(name)} is in {named(found[name].file.name)} and in "
                    f"{named(file.name)}; one of the two shards is of another checkpoint",
                )
            found[name] = tensor
    for name, place in index.items():
        if name not in found or found[name].file.name != place:
            raise refused(
                model,
                f"{_INDEX} says {named(name)} is in {named(place)}, which does not hold it",
            )
    extra = [name for name in found if index and name not in index]
    if extra:
        raise refused(
            model,
            f"{named(found[extra[0]].file.name)} holds {named(extra[0])}, which {_INDEX} does not "
            "name",
        )
    return found


def _header(file: Path, model: str) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        file.open("rb").close()  # safetensors itself says of any file it may not read: not there
    except OSError as error:
        raise refused(
            model, f"{named(file.name)} cannot be read: {error.strerror or error}"
        ) from error
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                part: Any = tensors.get_slice(name)
                yield name, Tensor(shape=tuple(part.get_shape()), dtype=part.get_dtype(), file=file)
    except (SafetensorError, OSError, ValueError) as error:
        raise refused(
            model,
            f"{named(file.name)} is not a safetensors file, cut off or damaged "
            f"({one_line(error)}); fetch it again",
        ) from error


def element_count(tensors: Mapping[str, Tensor]) -> int:
    """Number of weights that the headers name."""
    return sum(int(torch.Size(tensor.shape).numel()) for tensor in tensors.values())


def equal(one: tuple[str, Tensor], other: tuple[str, Tensor]) -> bool:
    """Whether two stored matrices hold the same numbers, NaN in the same places among them; a few
    rows at a time are in memory.
    """
    from safetensors import safe_open

    (name, first), (twin, second) = one, other
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    with safe_open(first.file, framework="pt") as a, safe_open(second.file, framework="pt") as b:
        left, right = a.get_slice(name), b.get_slice(twin)
        return all(
            torch.allclose(
                left[row : row + _ROWS], right[row : row + _ROWS], rtol=0, atol=0, equal_nan=True
            )
            for row in range(0, first.shape[0], _ROWS)
        )
