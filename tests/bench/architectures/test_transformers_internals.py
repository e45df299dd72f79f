"""Canary: what a release of transformers may change without a word."""

from importlib import import_module, metadata

import pytest
import torch
import transformers
from transformers import masking_utils

from alignmeter.architectures import open_architecture
from alignmeter.architectures.operators import TORCH_CODE, Operator, others_run
from alignmeter.architectures.transformers_internals import (
    behind,
    causal_lms,
    initialise,
    masked_lms,
    one_sequence_per_row,
    tie,
    wide_parts,
)
from alignmeter.registry import ARCHITECTURES

NAME = "find_packed_sequence_indices"


def test_transformers_looks_for_several_sequences_in_a_row_by_this_name():
    """5.17 to 5.24 do. Under another name plans would keep a mask of all pairs of tokens."""
    assert hasattr(masking_utils, NAME), (
        f"transformers {transformers.__version__} has no masking_utils.{NAME}; "
        "see architectures/transformers_internals.py"
    )
    before = getattr(masking_utils, NAME)
    with one_sequence_per_row():
        assert getattr(masking_utils, NAME)(position_ids=None) is None
    assert getattr(masking_utils, NAME) is before


def test_causal_lms_and_those_that_see_what_comes_are_known():
    assert causal_lms()["llama"] == "LlamaForCausalLM"
    assert "t5" not in causal_lms()
    assert "bert" in masked_lms()
    assert not {"llama", "gpt_neox", "mamba"} & {*masked_lms()}


def test_a_version_that_does_not_look_is_left_alone(monkeypatch):
    monkeypatch.delattr(masking_utils, NAME)
    with one_sequence_per_row():
        assert not hasattr(masking_utils, NAME)
    assert not hasattr(masking_utils, NAME)


def test_a_module_is_initialised_by_itself_and_once():
    """5.17 to 5.23 do so. Otherwise models that a device draws would have no weights."""
    family = open_architecture("llama")
    with torch.device("meta"):
        model = family.make(family.shape("tiny"))
    layer = model.model.layers[0].mlp.up_proj
    layer.to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.zero_()
    for seed in (0, 1):
        torch.manual_seed(seed)
        initialise(model, layer)
        if seed == 0:
            drawn = layer.weight.clone()
    assert drawn.std() > 0
    assert torch.equal(layer.weight, drawn)
    assert model.model.layers[0].mlp.down_proj.weight.is_meta


def test_weights_can_be_tied_anew():
    family = open_architecture("llama")
    model = family.make(family.shape("tiny"))
    model.lm_head.to_empty(device="cpu", recurse=False)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    tie(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight


FUNCTIONS = [
    (name, function) for name in ARCHITECTURES for function in open_architecture(name).operators
]


@pytest.mark.parametrize(("architecture", "function"), FUNCTIONS)
def test_what_a_modelling_function_runs_can_be_found(architecture, function):
    """5.17 to 5.23 keep it in a closure. Elsewhere a stock cell could not name what it ran."""
    family = open_architecture(architecture)
    family.use_kernels("vendor")  # leaves transformers as it was imported
    found = behind(getattr(import_module(family.modeling), function))
    assert found.plain.__module__ == family.modeling
    assert found.runs is not None, (
        f"transformers {transformers.__version__} hides what {function} runs; "
        "see architectures/transformers_internals.py"
    )


def plain(x, *, y=1):
    return x + y


def decorated(implementation):
    """As transformers decorates a function for which another package was found."""

    def wrapped(*args, **kwargs):
        return implementation(*args, **kwargs)

    wrapped.__wrapped__ = plain
    return wrapped


def hiding(run):
    """As a release might, that keeps the function elsewhere."""

    def wrapped(*args, **kwargs):
        return run(*args, **kwargs)

    wrapped.__wrapped__ = plain
    return wrapped


def in_a_module(func):
    """As Hugging Face's `kernels` puts a module around a function."""

    class Func(torch.nn.Module):
        def forward(self, *args, **kwargs):
            return func(*args, **kwargs)

    return Func()


def theirs(x, *, y=1):
    return x * 10


HIDDEN = f"unknown: transformers {metadata.version('transformers')} does not say"
THEIRS = theirs.__module__.partition(".")[0]
OPERATOR = Operator(names=("sum",))


@pytest.mark.parametrize("around", [lambda function: function, in_a_module])
@pytest.mark.parametrize(
    ("function", "packages", "value", "path"),
    [
        (plain, {}, 3, TORCH_CODE),
        (decorated(plain), {}, 3, TORCH_CODE),
        (decorated(theirs), None, 3, TORCH_CODE),
        (decorated(theirs), {THEIRS: "torch"}, 10, f"torch {metadata.version('torch')}"),
        (decorated(theirs), {}, 10, f"{THEIRS}, version unknown"),
        (hiding(theirs), None, 3, TORCH_CODE),
        (hiding(theirs), {}, 10, HIDDEN),
    ],
)
def test_stock_runs_and_names(function, packages, value, path, around):
    assert OPERATOR.chosen(around(function), "stock", packages)(1, y=2) == value
    assert others_run()["sum"] == path


def test_keywords_that_it_does_not_name_are_left_out():
    """transformers does so, and calls functions with more than every version of them takes."""
    assert OPERATOR.chosen(plain, "stock", None)(1, y=2, z=3) == 3


def test_kernels_that_hide_the_function_are_named():
    class Func(torch.nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(RuntimeError, match="`kernels` hides transformers' own code"):
        behind(Func())


def test_what_stays_in_fp32_is_told_by_these_names():
    assert "_keep_in_fp32_modules" in vars(transformers.PreTrainedModel)
    assert "_keep_in_fp32_modules_strict" in vars(transformers.PreTrainedModel)
    assert not wide_parts(transformers.LlamaForCausalLM)
