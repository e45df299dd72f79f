"""Real checkpoints: a folder or a hub id, safetensors only, no code from the checkpoint is run."""

__all__ = ["RANDOM", "Checkpoint", "find_checkpoint"]

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignmeter.cells.places import place_of
from alignmeter.errors import InputError, known
from alignmeter.registry import ARCHITECTURES, load

RANDOM = "random"
"""The axis value that means: no checkpoint, freshly initialised weights."""

_CPU = torch.device("cpu")
_SAMPLES, _SAMPLE_BYTES = 64, 65536
_WANTED = ["*.json", "*.safetensors", "tokenizer*", "*.model", "vocab*", "merges*"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checked checkpoint on this machine. ``architecture`` is the registry's name for it."""

    folder: Path
    architecture: str
    vocab_size: int
    layers: int
    parameters: int
    digest: str

    @property
    def has_tokenizer(self) -> bool:
        """Whether it brings the vocabulary that its ids mean."""
        return any(self.folder.glob("tokenizer*"))

    def build(
        self,
        *,
        dtype: torch.dtype,
        layers: int | None = None,
        device: torch.device = _CPU,
    ) -> nn.Module:
        """The causal LM in ``dtype``; ``layers`` keeps only the first ones.

        Its files are mapped, and each tensor goes to ``device`` by itself: the host never holds
        the model.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        config: Any = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        if layers is not None:
            config.num_hidden_layers = layers
            if vars(config).get("layer_types"):  # a list beside the count; Mamba derives it
                config.layer_types = config.layer_types[:layers]
        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            self.folder, config=config, dtype=dtype, use_safetensors=True, trust_remote_code=False,
            **({} if device == _CPU else {"device_map": {"": device}}),
        )  # fmt: skip
        return model


@cache
def find_checkpoint(model: str) -> Checkpoint:
    """The checkpoint in folder ``model``, or with that hub id, fetched where that is needed.

    Raises `InputError` if it is not there, is no safetensors checkpoint or of no known family.
    """
    place = Path(place_of(model))
    folder = place if place.is_dir() else _fetched(model)
    config = _config(folder, model)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"--model {model}: no *.safetensors file in {folder}; other formats can run code "
            "when they are loaded and are not read"
        )
    sizes = [_header(file) for file in files]
    return Checkpoint(
        folder=folder,
        architecture=_family(config.get("model_type"), model),
        vocab_size=_positive(config, "vocab_size", model),
        layers=_positive(config, "num_hidden_layers", model),
        parameters=sum(_elements(header) for header in sizes),
        digest=_digest(folder / "config.json", files),
    )


def _fetched(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(model, allow_patterns=_WANTED))
    except HFValidationError as error:
        raise InputError(
            f"--model {model}: neither a folder nor a hub id such as organisation/name"
        ) from error
    except Exception as error:  # the hub client raises errors of many libraries
        raise InputError(
            f"--model {model}: no such folder, and the hub did not give it "
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def _config(folder: Path, model: str) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"--model {model}: {path} cannot be read; give a folder that save_pretrained wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"--model {model}: {path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"--model {model}: {path} must hold a JSON object")
    return config


def _family(model_type: object, model: str) -> str:
    types = {kind: name for name in ARCHITECTURES for kind in load(ARCHITECTURES, name).checkpoints}
    if model_type not in types:
        raise InputError(f"--model {model}: model_type is {model_type!r}; {known(types)}")
    return types[str(model_type)]


def _positive(config: dict[str, Any], key: str, model: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise InputError(f"--model {model}: config.json: {key} is {value!r}; want a whole number")
    return value


def _header(file: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not a safetensors file: {error}") from error


def _elements(header: dict[str, Any]) -> int:
    return sum(int(torch.Size(shape).numel()) for shape in header.values())


def _digest(config: Path, files: list[Path]) -> str:
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
