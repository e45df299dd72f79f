"""Custom kernels inside transformers' models: the same losses and gradients as stock operators."""

import importlib
import inspect

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from crossed import crossed

from alignmeter.architectures import open_architecture
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.peft.nf4 import quantise
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.findings.bands import compare
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.step import SilentProbe
from alignmeter.worker.agreement import is_rounded, make_reference
from alignmeter.worker.workload import Workload

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def stock_again():
    yield
    for name in ARCHITECTURES:
        open_architecture(name).use_kernels("stock")


@pytest.mark.parametrize(
    *crossed(
        method=METHODS, architecture=ARCHITECTURES, peft=PEFT_MODES, precision=["fp32", "bf16"]
    )
)
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


@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=PEFT_MODES))
def test_every_gradient_is_the_stock_paths(architecture, peft, make_cell):
    stock, custom = (
        gradients(make_cell(architecture=architecture, peft=peft, kernels=kernels, seq_len=80))
        for kernels in ("stock", "custom")
    )
    assert stock.keys() == custom.keys()
    for name, gradient in custom.items():
        apart = (gradient - stock[name]).norm() / max(stock[name].norm(), 1e-3)
        assert apart <= 1e-4, f"{name}: {apart:.2e}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_eval_pass_leaves_custom_qlora_alone(architecture, make_cell):
    """Not even without the guard in `alignmeter.peft.nf4`: bitsandbytes' forward never runs."""
    cell = make_cell(architecture=architecture, peft="qlora", kernels="custom")
    model = open_setup(cell, CPU, seed=0).policy()
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert layers
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    ids = torch.randint(3, 500, (2, 16), generator=torch.Generator().manual_seed(0))
    before = response_logprobs(model, ids, 8)
    model.eval()
    with torch.no_grad():
        within = response_logprobs(model, ids, 8)
    model.train()
    assert torch.equal(response_logprobs(model, ids, 8), before)
    assert torch.equal(within, before)


@pytest.mark.full
def test_the_ledger_owns_the_same_nf4_tensors(make_cell):
    """The custom layers hold bitsandbytes' tensors and no copy of them."""
    ledgers = []
    for kernels in ("stock", "custom"):
        load = Workload(make_cell(peft="qlora", kernels=kernels), 0)
        load.build()
        load.agreement([])
        ledgers.append(load.memory_step().ledger)
    stock, custom = ledgers
    for owner in ("policy_weights", "ref_weights", "quantisation_state", "adapters"):
        assert custom[f"{owner}_bytes"] == stock[f"{owner}_bytes"]
    assert custom["quantisation_state_bytes"] > 0
    table = 256 * 2 * 4
    assert custom["unattributed_bytes"] <= stock["unattributed_bytes"] + table


def test_nf4_layers_compute_in_their_own_dtype():
    """As `Linear4bit` does: cast to the compute dtype, the bias too, and back to the input's."""
    stock, custom = (
        quantise(
            torch.nn.Sequential(torch.nn.Linear(64, 5)), skip=(), compute=torch.bfloat16, kernels=k
        )
        for k in ("stock", "custom")
    )
    custom.load_state_dict(stock.state_dict())
    stock, custom = stock.to(CPU), custom.to(CPU)
    x = torch.randn(3, 64)
    assert custom(x).dtype == torch.float32
    torch.testing.assert_close(custom(x), stock(x), rtol=2**-7, atol=2**-7)
    assert torch.equal(custom(x), custom(x).bfloat16().float())


def test_an_unquantised_weight_is_refused():
    linear = torch.nn.Sequential(torch.nn.Linear(64, 5))
    model = quantise(linear, skip=(), compute=torch.float32, kernels="custom")
    with pytest.raises(ValueError, match="the weight is not NF4"):
        model(torch.zeros(1, 64))


def test_stock_comes_back(make_cell):
    mamba = open_architecture("mamba")
    module = importlib.import_module(mamba.modeling)
    custom = mamba.operators["mamba_selective_scan"].custom
    for kernels in ("stock", "custom", "stock"):
        open_setup(make_cell(architecture="mamba", kernels=kernels), CPU, seed=0)
        assert (module.mamba_selective_scan is custom) == (kernels == "custom")
    plain = mamba.torch_code("mamba_selective_scan")
    assert inspect.unwrap(module.mamba_selective_scan) is plain
    assert plain.__module__ == mamba.modeling


def test_an_unknown_activation_is_refused():
    convolution = open_architecture("mamba").operators["causal_conv1d_fn"].custom
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        convolution(torch.zeros(1, 2, 3), torch.zeros(2, 4), activation="gelu")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("peft", "nf4"), [("full", None), ("qlora", "torch")])
def test_the_record_says_which_path_ran(tmp_path, monkeypatch, launcher, make_cell, peft, nf4):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = make_cell(architecture="mamba", peft=peft, kernels="custom")
    settings = Settings(steps=1, warmup=1, seed=0, timeout_s=120)
    record = measure(Planned(cell=cell, unsupported=None), 0, settings, launcher).record
    assert record.status == "ok"
    assert record.numerics.agrees is True
    paths = record.provenance.kernel_path
    assert paths["model"] == "transformers"
    assert paths["linear_logprob"] == "torch"
    assert paths["selective_scan"] in ("cpp", "torch")
    assert paths.get("nf4_linear") == nf4
    assert record.cell.kernels == "custom"
