"""A model on this machine: found, checked at the door, built."""

__all__ = ["RANDOM", "Checkpoint", "check_unchanged", "find_checkpoint", "without_weights"]

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.base import WHOLE_PARAMETERS, Architecture
from alignmeter.architectures.checkpoint.config import (
    dropout_of,
    family_of,
    made,
    open_config,
    positive,
    read_config,
    read_json,
)
from alignmeter.architectures.checkpoint.family import other_config, other_family
from alignmeter.architectures.checkpoint.files import element_count, read_headers, weight_files
from alignmeter.architectures.checkpoint.fit import check_depth, check_fit, check_made, made_within
from alignmeter.architectures.checkpoint.place import Place, find_place, is_there
from alignmeter.architectures.checkpoint.ranges import check_raw
from alignmeter.architectures.checkpoint.refusal import refused, said
from alignmeter.architectures.checkpoint.weights import load_weights
from alignmeter.architectures.drawing import draw, undrawn
from alignmeter.architectures.late_weights import Form
from alignmeter.architectures.layers import ATTENDING, kept_layers
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.cell import digest as digest_of
from alignmeter.cells.places import place_of
from alignmeter.errors import CellError, InputError
from alignmeter.registry import ARCHITECTURES, load
from alignmeter.text import shown_path

RANDOM = "random"
"""The axis value that means: no checkpoint, freshly initialised weights."""

_CPU = torch.device("cpu")
_SAMPLES, _SAMPLE_BYTES = 64, 65536
_MOST_LAYERS = 1024
"""More than any model has: of as many as a config likes, one would take for ever to make."""
_LAYERS = "num_hidden_layers", "n_layer", "n_layers", "num_layers"
"""What families call their number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checked model on this machine. ``config``: its JSON file.

    ``files``: those that hold its weights; none where they are drawn. ``dropout``: field -> value
    of what its config asks for. ``matrices``: name of each with two dimensions -> shape.
    """

    config: Path
    files: tuple[Path, ...]
    family: Architecture
    vocab_size: int
    layers: int
    parameters: int
    dropout: Mapping[str, float]
    digest: str
    matrices: Mapping[str, tuple[int, int]]

    @property
    def architecture(self) -> str:
        """The registry's name of its family, or its ``model_type`` where that has none."""
        return self.family.name

    @property
    def folder(self) -> Path:
        """Where its config lies."""
        return self.config.parent

    @property
    def drawn(self) -> bool:
        """Whether it has no weights of its own, only a config."""
        return not self.files

    @property
    def has_tokenizer(self) -> bool:
        """Whether it brings the vocabulary that its ids mean."""
        whole = self.config.name == "config.json"
        return whole and any(self.folder.glob("tokenizer*"))

    def shape(self) -> Mapping[str, Any]:
        """Keys of the transformers config, those that config.json leaves out at their defaults."""
        shape: dict[str, Any] = open_config(self.config).to_dict()
        return shape

    def drawing_device(self, *, layers: int | None, device_type: str) -> str:
        """Type of the device that draws its weights; a CPU those that references are computed of.

        Empty where they are read.
        """
        if not self.drawn:
            return ""
        whole = layers is not None or self.parameters <= WHOLE_PARAMETERS
        return "cpu" if whole else device_type

    def build(
        self,
        *,
        dtype: torch.dtype,
        layers: int | None = None,
        device: torch.device = _CPU,
        seed: int = 0,
    ) -> nn.Module:
        """The causal LM in ``dtype``; ``layers`` keeps as many, as `kept_layers`.

        Its files are mapped, and each tensor goes to ``device`` by itself: the host never holds
        the model. Without files it is drawn from ``seed`` on the CPU, in fp32, and then cast.
        Without data it is made from its config alone: a file's tensors are real ones, each use of
        which would count as a tensor of its own. Raises `CellError` if the files are not what they
        were.
        """
        config = open_config(self.config, layers)
        if self.drawn:
            torch.manual_seed(seed)
            return made(config, dtype=torch.float32).to(dtype)
        if is_tracing():
            return made(config, dtype=dtype)
        attending = self.shape().get(ATTENDING) or ()
        kept = None if layers is None else kept_layers(attending, layers)
        return load_weights(self.files, config, dtype=dtype, device=device, kept=kept)

    def build_there(
        self,
        *,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        store: Callable[[nn.Module], nn.Module],
    ) -> nn.Module:
        """A causal LM drawn on ``device``, as `Architecture.build_there`."""
        make = partial(made, open_config(self.config), dtype=dtype)
        return draw(make, seed=seed, dtype=dtype, device=device, store=store)

    def build_undrawn(
        self, *, seed: int, dtype: torch.dtype, device: torch.device, form: Form | None
    ) -> nn.Module:
        """The causal LM of `build_there`, drawn later, as `Architecture.build_undrawn`."""
        make = partial(made, open_config(self.config), dtype=dtype)
        return undrawn(make, seed=seed, dtype=dtype, device=device, form=form)


@cache
def find_checkpoint(model: str) -> Checkpoint:
    """The model in folder or JSON file ``model``, or with that hub id, fetched where it has to be.

    Headers of weights are read and held against the model, the weights are not; where there is a
    config.json alone, they will be drawn. Raises `InputError` if it is not there, is no whole
    safetensors checkpoint, of a family that no step could take, or does not fit its config.json.
    """
    place = find_place(model)
    config = read_config(place.config, model, place.folder)
    name = family_of(config, model)
    files, index = ([], {}) if place.folder is None else weight_files(place.folder, model)
    if not files:
        return _drawn(place, config, name, model)
    tensors = read_headers(files, index, model)
    known = name in ARCHITECTURES
    vocab, layers = _counts(config, place.config, model, known=known, held=True)
    widest = max((max(t.shape, default=0) for t in tensors.values()), default=0)
    check_raw(config, widest if known else None, model)
    if known:  # others call their layers as they like
        check_depth(layers, tensors, model)
    built, family = _made(place.config, name, model)
    check_fit(built, tensors, model)
    if known:
        check_made(built, place.config, model, part=family.turns_part)
    return Checkpoint(
        config=place.config,
        files=tuple(files),
        family=family,
        vocab_size=vocab,
        layers=layers,
        parameters=element_count(tensors),
        dropout=dropout_of(config),
        digest=_identity(place.config, files, model),
        matrices={n: (t.shape[0], t.shape[1]) for n, t in tensors.items() if len(t.shape) == 2},
    )


def check_unchanged(model: str, digest: str) -> None:
    """Raise `CellError` unless the files are still those whose `Checkpoint.digest` that is.

    A run takes hours, and a folder that is trained into, synchronised or tidied meanwhile would
    give figures under another checkpoint's name.
    """
    try:
        # Not one to fetch: those have their place, too.
        if not is_there(Path(place_of(model))):
            raise refused(model, "the folder is gone")
        found = find_checkpoint(model)
        if _identity(found.config, found.files, model) == digest:
            return
        text = f"--model {shown_path(model)}: its files are others than before the run"
    except InputError as error:
        text = str(error)
    except OSError as error:
        text = f"--model {shown_path(model)}: a file cannot be read any more: {error.strerror}"
    raise CellError("crashed", "checkpoint_changed", text)


def _identity(config: Path, files: Sequence[Path], model: str) -> str:
    """Of a config alone, whose weights are drawn, another one than any checkpoint's."""
    if files:
        return _digest(config, files)
    return digest_of(["drawn", read_json(config, model)])


def _drawn(place: Place, config: Mapping[str, Any], name: str, model: str) -> Checkpoint:
    """Of a config alone, whose digest is no checkpoint's."""
    if not place.drawn:
        raise refused(
            model,
            "the hub's copy on this machine has a config.json and no weights; fetch them, or give "
            "that config.json, and its weights are drawn",
        )
    known = name in ARCHITECTURES
    vocab, layers = _counts(config, place.config, model, known=known, held=False)
    check_raw(config, None, model)
    built, family = _made(place.config, name, model)
    if known:
        check_made(built, place.config, model, part=family.turns_part)
    shapes = {key: tuple(weight.shape) for key, weight in built.named_parameters()}
    return Checkpoint(
        config=place.config,
        files=(),
        family=family,
        vocab_size=vocab,
        layers=layers,
        parameters=sum(weight.numel() for weight in built.parameters()),
        dropout=dropout_of(config),
        digest=_identity(place.config, (), model),
        matrices={key: (s[0], s[1]) for key, s in shapes.items() if len(s) == 2},
    )


def _counts(
    config: Mapping[str, Any], path: Path, model: str, *, known: bool, held: bool
) -> tuple[int, int]:
    """Token ids and layers. Other families have fields of other names, which transformers maps.

    ``held``: there are files, which `check_depth` counts the layers of.
    """
    names = "vocab_size", "num_hidden_layers"
    if not known:
        for key in _LAYERS:  # before transformers makes lists as long
            _check_layers(key, config.get(key), model)
        opened = other_config(path, model)
        config = {key: getattr(opened, key, None) for key in names}
    vocab, layers = (positive(config, key, model) for key in names)
    if not (held and known):
        _check_layers("num_hidden_layers", layers, model)
    return vocab, layers


def _check_layers(field: str, value: object, model: str) -> None:
    if isinstance(value, int) and value > _MOST_LAYERS:
        raise refused(model, f"config.json: {field} is {said(value)}; want at most {_MOST_LAYERS}")


def _made(path: Path, name: str, model: str) -> tuple[nn.Module, Architecture]:
    if name not in ARCHITECTURES:
        return other_family(other_config(path, model), model)
    family: Architecture = load(ARCHITECTURES, name)
    return made_within(path, model, family.activations), family


def without_weights(model: str, checkpoint: Checkpoint) -> str | None:
    """A sentence where the weights of ``model`` are drawn, and no figure is of a real model's."""
    if not checkpoint.drawn:
        return None
    return f"{model} is a config without weights; random ones are drawn, not those of its model"


def _digest(config: Path, files: Sequence[Path]) -> str:
    """SHA-256 over config, sizes and 64 samples of 64 KiB of each file.

    Whole files would take minutes to read for the sizes that are measured here.
    """
    found = hashlib.sha256(config.read_bytes())
    for file in files:
        size = file.stat().st_size
        found.update(f"{file.name} {size}".encode())
        with file.open("rb") as data:
            for i in range(_SAMPLES):
                data.seek(i * max(0, size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                found.update(data.read(_SAMPLE_BYTES))
    return found.hexdigest()
