"""A model's config.json: read, refused where it asks for what is not done, and opened."""

__all__ = [
    "dropout_of",
    "family_of",
    "made",
    "open_config",
    "positive",
    "read_config",
    "read_json",
    "beyond_positions",
    "trained_positions",
    "transformers_there",
    "without_dropout",
]

import codecs
import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

from alignmeter.accelerators import devices_hidden
from alignmeter.architectures.checkpoint.refusal import one_line, refused, said
from alignmeter.architectures.layers import ATTENDING, cut_places
from alignmeter.architectures.transformers_internals import causal_lms
from alignmeter.registry import ARCHITECTURES, load
from alignmeter.streams import quiet

_QUANTISED = ("quantization_config", "compression_config")
"""Fields of transformers and of compressed-tensors that say how weights are packed."""

_ENCODING = "save it as UTF-8 without a byte order mark, as save_pretrained does"


def transformers_there() -> None:
    """Import transformers, quietly, and in a process that drives workers without a device."""
    if "transformers" not in sys.modules:
        with quiet(), devices_hidden():
            import transformers  # noqa: F401


def read_json(path: Path, model: str) -> dict[str, Any]:
    """The object in a JSON file of the checkpoint. Raises `InputError` if there is none.

    In UTF-8 without a byte order mark, since transformers, which reads it again, takes no other.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refused(
            model,
            f"{path.name} cannot be read: {error.strerror or error}; give a folder that "
            "save_pretrained wrote",
        ) from error
    try:
        if data.startswith(codecs.BOM_UTF8):
            raise refused(model, f"{path.name} begins with a byte order mark; {_ENCODING}")
        value = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise refused(model, f"{path.name} is not UTF-8; {_ENCODING}") from error
    except (ValueError, RecursionError) as error:
        raise refused(model, f"{path.name} is not valid JSON: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise refused(model, f"{path.name} must hold a JSON object")
    return value


def read_config(path: Path, model: str, folder: Path | None) -> dict[str, Any]:
    """The JSON file at ``path``, of a whole, unquantised model; ``folder``: what is that model's.

    Raises `InputError` for anything else: packed weights, an adapter beside the model (transformers
    would merge it for some PEFT modes and others would drop it), weights under another name.
    """
    config = read_json(path, model)
    for field in _QUANTISED:
        if config.get(field) is not None:
            raise refused(
                model,
                f"config.json: {field} says {_method(config[field])}: quantised weights are not "
                "read; give the unquantised checkpoint, or for a plan a copy without that field, "
                "and choose the PEFT mode that quantises",
            )
    if folder is not None and (folder / "adapter_config.json").exists():
        raise refused(
            model,
            "adapter_config.json lies beside the model; merge the adapter (merge_and_unload, "
            "save_pretrained) or move it away: no PEFT mode would train what the folder means",
        )
    if config.get("transformers_weights"):
        raise refused(
            model,
            f"config.json: transformers_weights is {said(config['transformers_weights'])}; only "
            "model.safetensors and what its index names are read: remove the field",
        )
    return config


def _method(value: object) -> str:
    method = value.get("quant_method") if isinstance(value, Mapping) else None
    return said(method or "a quantisation without a name")


def family_of(config: Mapping[str, Any], model: str) -> str:
    """The registry's name of its family, or else its ``model_type``.

    Raises `InputError` for a missing one, and one of which transformers has no causal LM.
    """
    types = {kind: name for name in ARCHITECTURES for kind in load(ARCHITECTURES, name).checkpoints}
    model_type = config.get("model_type")
    if model_type is None:
        raise refused(model, "config.json has no model_type, which names its family: llama, gemma2")
    if isinstance(model_type, str) and model_type in types:
        return types[model_type]
    transformers_there()
    if not isinstance(model_type, str) or model_type not in causal_lms():
        raise refused(
            model,
            f"config.json: model_type is {said(model_type)}, of which transformers "
            f"{metadata.version('transformers')} has no causal LM; docs/models.md lists families",
        )
    return model_type


def positive(config: Mapping[str, Any], key: str, model: str) -> int:
    """A count in config.json. Raises `InputError` unless it is a whole number from 1 on."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refused(model, f"config.json: {key} is {said(value)}; want a whole number from 1 on")
    return value


_DROPS = "dropout", "pdrop", "layerdrop", "jitter"
"""What fields are called that make a training step random."""
_KINDS = "layer_types", "layers_block_type", "mlp_layer_types"
_AT = "hybrid_layer_ids"
"""Lists beside the number of layers: the kind of each, and the places of those of one kind."""


def dropout_of(config: Mapping[str, Any]) -> dict[str, float]:
    """Field -> value of each that makes a training step random."""
    return {
        field: value
        for field, value in config.items()
        if any(word in field for word in _DROPS) and _is_number(value) and value > 0
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def open_config(path: Path, layers: int | None = None) -> Any:
    """transformers' config in a folder or JSON file; ``layers`` keeps as many, the first ones, or
    `kept_layers` where the places of those that attend are given.

    Its dropout is off, as in trainers for alignment (``disable_dropout`` of TRL's ``DPOConfig``):
    policy and ref_model would differ by chance, and no reference could agree. `without_dropout`
    says so.
    """
    transformers_there()
    from transformers import AutoConfig

    with quiet():
        config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
    for field in dropout_of(vars(config)):
        setattr(config, field, 0.0)
    if layers is not None:
        config.num_hidden_layers = layers
        for field in _KINDS:  # Mamba derives its own
            if vars(config).get(field):
                setattr(config, field, getattr(config, field)[:layers])
        if vars(config).get(_AT):
            setattr(config, _AT, [at for at in getattr(config, _AT) if at < layers])
        if vars(config).get(ATTENDING):
            setattr(config, ATTENDING, cut_places(getattr(config, ATTENDING), layers))
    return config


def made(config: Any, **options: Any) -> nn.Module:
    """The causal LM of that config with drawn weights, on the device that is torch's default."""
    from transformers import AutoModelForCausalLM

    with quiet():
        model: nn.Module = AutoModelForCausalLM.from_config(
            config, trust_remote_code=False, **options
        )
    return model


def without_dropout(model: str, dropout: Mapping[str, float]) -> str | None:
    """A sentence where the config of ``model`` asks for dropout, which `open_config` leaves out.

    ``dropout``: as `dropout_of` has it.
    """
    for field, value in dropout.items():
        return f"{field} is {value:g} in config.json of {model}; steps run without dropout"
    return None


def beyond_positions(model: str, shape: Mapping[str, Any], seq_len: int) -> str | None:
    """A sentence where ``seq_len`` tokens are more than `trained_positions` of ``model``."""
    length = trained_positions(shape)
    if length is None or seq_len <= length:
        return None
    return f"seq_len is {seq_len}, and {model} was made for {length} positions"


def trained_positions(shape: Mapping[str, Any]) -> int | None:
    """Longest sequence that the config says it was made for; ``None`` where it names none.

    ``shape``: keys of the transformers config. Rotary positions that are scaled reach
    ``original_max_position_embeddings`` (else ``max_position_embeddings``) times ``factor``
    (YaRN, https://arxiv.org/abs/2309.00071); a config that gives the longer length as
    ``max_position_embeddings`` already, as Llama 3.1's does, keeps it.
    """
    length = shape.get("max_position_embeddings")
    if not isinstance(length, int):
        return None
    scaling = shape.get("rope_parameters") or shape.get("rope_scaling") or {}
    factor = scaling.get("factor") if isinstance(scaling, Mapping) else None
    if not isinstance(factor, int | float):
        return length
    original = scaling.get("original_max_position_embeddings") or length
    return max(length, int(original * factor))
