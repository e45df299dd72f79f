"""Canaries: what a release of peft may change without a word."""

import warnings

import peft
import pytest
import torch
from torch import nn

from alignmeter.peft.tuner_layers import activate, active_adapter, disabled, tuner_layers

NEWER = f"peft {peft.__version__} keeps this elsewhere; see peft/tuner_layers.py"


@pytest.fixture
def model():
    """A linear layer with two adapters, the first of which adds 1 and the second 2."""
    made = nn.Sequential(nn.Linear(4, 4, bias=False))
    config = peft.LoraConfig(r=1, lora_alpha=1, target_modules=["0"])
    for name, added in (("default", 1.0), ("other", 2.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the model has an adapter already
            peft.inject_adapter_in_model(config, made, adapter_name=name)
        layer = made[0]
        with torch.no_grad():
            layer.lora_A[name].weight.fill_(0.25)
            layer.lora_B[name].weight.fill_(added)
    return made


def added(model):
    """What the active adapter adds to the frozen product of four ones."""
    ones = torch.ones(1, 4)
    difference = (model(ones) - model[0].base_layer(ones)).flatten().round(decimals=3)
    assert len(difference.unique()) == 1
    return difference[0].item()


def test_the_active_adapter_is_the_one_that_computes(model):
    (layer,) = layers = tuner_layers(model)
    activate(layers, "default")
    assert added(model) == 1.0, NEWER
    trains = {name: p.requires_grad for name, p in model.named_parameters()}
    with active_adapter(layers, "other"):
        assert layer.active_adapter == ["other"], NEWER
        assert added(model) == 2.0, NEWER
    assert added(model) == 1.0
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trains


def test_disabled_layers_compute_without_adapters(model):
    layers = tuner_layers(model)
    activate(layers, "default")
    with disabled(layers):
        assert layers[0].disable_adapters is True, NEWER
        assert added(model) == 0.0, NEWER
    assert added(model) == 1.0
