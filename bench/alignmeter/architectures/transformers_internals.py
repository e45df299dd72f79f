"""The private names of transformers that this project takes: all of them, and here alone.

`tests/bench/architectures/test_transformers_internals.py` says which one a release has changed.
"""

__all__ = [
    "Behind",
    "behind",
    "causal_lms",
    "initialise",
    "masked_lms",
    "one_sequence_per_row",
    "tie",
    "wide_parts",
]

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

_AUTO = "transformers.models.auto.modeling_auto"
_FINDS_SEQUENCES = "find_packed_sequence_indices"
_RUNS, _WRAPPED = "implementation", "func"
"""What the closures call it: of `use_kernel_func_from_hub_with_fallback`, and of `kernels`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """What stands behind a function of a modelling module.

    ``plain``: transformers' own torch code. ``runs``: what a call runs, which is another package's
    where that can be imported; ``None`` where a release keeps it elsewhere.
    """

    plain: Callable[..., Any]
    runs: Callable[..., Any] | None


def behind(function: Callable[..., Any]) -> Behind:
    """The functions behind one that transformers 5.17 to 5.24 decorate, or that is plain.

    transformers looks for the other package when the modelling module is imported, whatever the
    device. With Hugging Face's `kernels` installed, a module stands around what it found. Raises
    `RuntimeError` if a release of `kernels` hides the function.
    """
    if isinstance(function, nn.Module):
        inside = _closure(type(function).forward).get(_WRAPPED)
        if inside is None:
            raise RuntimeError(
                "the installed `kernels` hides transformers' own code; uninstall it, or take "
                "kernels = vendor"
            )
        function = inside
    plain = inspect.unwrap(function)
    runs = plain if plain is function else _closure(function).get(_RUNS)
    return Behind(plain=plain, runs=runs)


def _closure(function: Callable[..., Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = inspect.getclosurevars(function).nonlocals
    return found


def causal_lms() -> Mapping[str, str]:
    """``model_type`` -> class, of all that ``AutoModelForCausalLM`` makes."""
    return _automatic("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")


def masked_lms() -> Mapping[str, str]:
    """The same of ``AutoModelForMaskedLM``, whose tokens see those after them."""
    return _automatic("MODEL_FOR_MASKED_LM_MAPPING_NAMES")


def _automatic(name: str) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(import_module(_AUTO), name)
    return found


def initialise(model: Any, module: nn.Module) -> None:
    """Draw the weights of one module as ``model``, which it is part of, says; not those below it.

    Once: a module that was initialised is left alone.
    """
    with torch.no_grad():
        model._initialize_weights(module)


def tie(model: Any) -> None:
    """Let the modules of ``model`` that share a weight share it."""
    model.tie_weights(recompute_mapping=False)


@contextlib.contextmanager
def one_sequence_per_row() -> Iterator[None]:
    """Within the context transformers takes each row of ids for one sequence.

    It looks at position ids for several sequences in a row; ours never have them. On fake tensors
    it cannot look, and would keep a mask of all pairs of tokens.
    """
    masking = import_module("transformers.masking_utils")
    finds = getattr(masking, _FINDS_SEQUENCES, None)
    if finds is None:  # a version that does not look
        yield
        return
    setattr(masking, _FINDS_SEQUENCES, _none_found)
    try:
        yield
    finally:
        setattr(masking, _FINDS_SEQUENCES, finds)


def _none_found(*_: object, **__: object) -> None:
    """One sequence per row."""


def wide_parts(model: Any) -> bool:
    """Whether transformers keeps some of its weights in fp32 whatever dtype is asked for."""
    names = "_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"
    return any(getattr(model, name, None) for name in names)
