"""Custom kernels inside transformers' models: the same losses and gradients as stock operators."""

import importlib

import pytest
import torch

from alignmeter.architectures import open_architecture
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.base import SilentProbe
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.agreement import compare, is_rounded, make_reference
from alignmeter.session.workload import Workload

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def stock_again():
    yield
    for name in ARCHITECTURES:
        open_architecture(name).use_kernels("stock")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("peft", PEFT_MODES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", METHODS)
def test_losses_agree_with_stock(method, architecture, peft, precision, make_cell):
    cell = make_cell(
        method=method, architecture=architecture, peft=peft, kernels="custom", precision=precision
    )
    reference = make_reference(cell, 0, None, is_rounded(cell))
    load = Workload(cell, 0)
    load.build()
    observed = load.agreement(reference.rollouts)
    assert [s.name for s in compare(observed.signals, reference, cell) if not s.agrees] == []
    assert observed.silent_adapters == []


def gradients(cell):
    """Every gradient of the first step, by parameter."""
    setup = open_setup(cell, CPU, seed=0)
    step = open_method(cell.method).build(setup)
    with torch.no_grad():
        for parameter_name, parameter in step.policy.named_parameters():
            if ".lora_B." in parameter_name:
                parameter.add_(0.02)
    names = {id(p): name for name, p in step.policy.named_parameters()}
    found = {}
    step.optimizer.register_step_pre_hook(
        lambda optimizer, *_: found.update(
            {names[id(p)]: p.grad.clone() for g in optimizer.param_groups for p in g["params"]}
        )
    )
    step.run(open_batches(cell, vocab_size=512, seed=0).take(0, CPU), SilentProbe())
    return found


@pytest.mark.parametrize("peft", ["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_gradient_is_the_stock_paths(architecture, peft, make_cell):
    stock, custom = (
        gradients(make_cell(architecture=architecture, peft=peft, kernels=kernels, seq_len=80))
        for kernels in ("stock", "custom")
    )
    assert stock.keys() == custom.keys()
    for name, gradient in custom.items():
        apart = (gradient - stock[name]).norm() / max(stock[name].norm(), 1e-3)
        assert apart <= 1e-4, f"{name}: {apart:.2e}"


def test_stock_comes_back(make_cell):
    mamba = open_architecture("mamba")
    module = importlib.import_module(mamba.modeling)
    open_setup(make_cell(architecture="mamba"), CPU, seed=0)
    before = module.mamba_selective_scan
    open_setup(make_cell(architecture="mamba", kernels="custom"), CPU, seed=0)
    assert module.mamba_selective_scan is mamba.operators["mamba_selective_scan"]
    open_setup(make_cell(architecture="mamba"), CPU, seed=0)
    assert module.mamba_selective_scan is before


def test_an_unknown_activation_is_refused():
    convolution = open_architecture("mamba").operators["causal_conv1d_fn"]
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        convolution(torch.zeros(1, 2, 3), torch.zeros(2, 4), activation="gelu")


def test_the_record_says_which_path_ran(tmp_path, monkeypatch, launcher, make_cell):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = make_cell(architecture="mamba", kernels="custom")
    settings = Settings(steps=1, warmup=1, seed=0, timeout_s=120)
    record = measure(Planned(cell=cell, unsupported=None), 0, settings, launcher)
    assert record.status == "ok"
    assert record.numerics.agrees is True
    paths = record.provenance.kernel_path
    assert paths["model"] == "transformers"
    assert paths["linear_logprob"] == "torch"
    assert paths["selective_scan"] in ("cpp", "torch")
    assert "custom" in record.cell.id
