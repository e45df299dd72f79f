"""A checkpoint on this machine: found, checked at the door, built."""

__all__ = ["RANDOM", "Checkpoint", "check_unchanged", "find_checkpoint"]

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.checkpoint.config import (
    family_of,
    made,
    open_config,
    positive,
    read_config,
)
from alignmeter.architectures.checkpoint.files import element_count, read_headers, weight_files
from alignmeter.architectures.checkpoint.fit import check_depth, check_fit
from alignmeter.architectures.checkpoint.ranges import check_raw
from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.architectures.checkpoint.weights import load_weights
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.places import adopt_places, place_of
from alignmeter.errors import CellError, InputError
from alignmeter.registry import ARCHITECTURES, load
from alignmeter.streams import quiet
from alignmeter.text import shown_path

RANDOM = "random"
"""The axis value that means: no checkpoint, freshly initialised weights."""

_CPU = torch.device("cpu")
_SAMPLES, _SAMPLE_BYTES = 64, 65536
_WANTED = ["*.json", "*.safetensors", "tokenizer*", "*.model", "vocab*", "merges*"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checked checkpoint on this machine. ``architecture`` is the registry's name for it.

    ``files``: those that hold its weights. ``dropout``: what its config asks for. ``matrices``:
    name of each with two dimensions -> shape.
    """

    folder: Path
    files: tuple[Path, ...]
    architecture: str
    vocab_size: int
    layers: int
    parameters: int
    dropout: float
    digest: str
    matrices: Mapping[str, tuple[int, int]]

    @property
    def has_tokenizer(self) -> bool:
        """Whether it brings the vocabulary that its ids mean."""
        return any(self.folder.glob("tokenizer*"))

    def shape(self) -> Mapping[str, Any]:
        """Keys of the transformers config, those that config.json leaves out at their defaults."""
        shape: dict[str, Any] = open_config(self.folder).to_dict()
        return shape

    def build(
        self,
        *,
        dtype: torch.dtype,
        layers: int | None = None,
        device: torch.device = _CPU,
    ) -> nn.Module:
        """The causal LM in ``dtype``; ``layers`` keeps only the first ones.

        Its files are mapped, and each tensor goes to ``device`` by itself: the host never holds
        the model. Without data it is made from its config alone: a file's tensors are real ones,
        each use of which would count as a tensor of its own. Raises `CellError` if the files are
        not what they were.
        """
        config = open_config(self.folder, layers)
        if is_tracing():
            return made(config, dtype=dtype)
        return load_weights(self.folder, config, dtype=dtype, device=device, cut=layers is not None)


@cache
def find_checkpoint(model: str) -> Checkpoint:
    """The checkpoint in folder ``model``, or with that hub id, fetched where that is needed.

    Its headers are read and held against its model, its weights are not. Raises `InputError` if it
    is not there, is no whole safetensors checkpoint, of no known family, or does not fit its
    config.json.
    """
    place = Path(place_of(model))
    folder = place if _is_folder(place) else _fetched(model)
    config = read_config(folder, model)
    architecture = family_of(config, model)
    files, index = weight_files(folder, model)
    tensors = read_headers(files, index, model)
    vocab, layers = (positive(config, key, model) for key in ("vocab_size", "num_hidden_layers"))
    check_raw(config, max((max(t.shape, default=0) for t in tensors.values()), default=0), model)
    check_depth(layers, tensors, model)
    check_fit(folder, tensors, model, load(ARCHITECTURES, architecture).activations)
    return Checkpoint(
        folder=folder,
        files=tuple(files),
        architecture=architecture,
        vocab_size=vocab,
        layers=layers,
        parameters=element_count(tensors),
        dropout=config.get("attention_dropout") or 0.0,
        digest=_digest(folder / "config.json", files),
        matrices={n: (t.shape[0], t.shape[1]) for n, t in tensors.items() if len(t.shape) == 2},
    )


def check_unchanged(model: str, digest: str) -> None:
    """Raise `CellError` unless the files are still those whose `Checkpoint.digest` that is.

    A run takes hours, and a folder that is trained into, synchronised or tidied meanwhile would
    give figures under another checkpoint's name.
    """
    try:
        if not _is_folder(Path(place_of(model))):  # not one to fetch: those have their place, too
            raise refused(model, "the folder is gone")
        found = find_checkpoint(model)
        if _digest(found.folder / "config.json", found.files) == digest:
            return
        text = f"--model {shown_path(model)}: its files are others than before the run"
    except InputError as error:
        text = str(error)
    except OSError as error:
        text = f"--model {shown_path(model)}: a file cannot be read any more: {error.strerror}"
    raise CellError("crashed", "checkpoint_changed", text)


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:  # a name that no file system takes
        return False


def _fetched(model: str) -> Path:
    """The folder with that hub id, for this process and its workers.

    They ask nobody again: the hub may have another revision by then, or be out of reach.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        with quiet():  # it draws a bar
            folder = snapshot_download(model, allow_patterns=_WANTED)
    except HFValidationError as error:
        raise refused(model, "neither a folder nor a hub id such as organisation/name") from error
    except Exception as error:  # the hub client raises errors of many libraries
        raise refused(model, f"no such folder, and {_refusal(error, model)}") from error
    adopt_places({model: folder})
    return Path(folder)


def _refusal(error: Exception, model: str) -> str:
    """Why the hub did not give it, and what helps. Its client's own words fill a page."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return (
            "the hub cannot be reached from here; give a folder, or fetch it first where it can: "
            f"hf download {shown_path(model, 60)}"
        )
    if isinstance(error, errors.GatedRepoError):
        return "the hub gives it to those who accepted its terms; do so, and log in: hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has none of that name, or a private one: hf auth login"
    return f"the hub did not give it ({type(error).__name__}: {one_line(error)})"


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
