"""Backbones: drawn where they are to be, once, and copied.

Counted, as a timing would need a GPU. The device is torch's ``meta`` where only what happens on
the host matters.
"""

import copy
import itertools

import pytest
import torch
from crossed import crossed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, LlamaConfig

from alignmeter.architectures import open_architecture
from alignmeter.architectures.base import WHOLE_SIZES, drawing_device
from alignmeter.architectures.precision import precision_of
from alignmeter.methods import open_setup
from alignmeter.peft import nf4
from alignmeter.peft.nf4 import quantisation_tensors, quantise
from alignmeter.registry import ARCHITECTURES, PEFT_MODES
from alignmeter.training.actors import open_actors

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")
DRAWN_PER_S = 25e6
"""Half of what a thread draws: 53 million weights per s on one core of an AMD EPYC."""
RANDOM = {"normal_", "uniform_", "rand", "randn", "bernoulli_", "randint", "randperm", "trunc"}


class Host(TorchDispatchMode):
    """Counts the elements that operators give on the CPU, and those that its generator drew."""

    def __init__(self):
        super().__init__()
        self.made = self.drawn = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves(found) if isinstance(t, torch.Tensor)]
        count = sum(t.numel() for t in tensors if t.device.type == "cpu")
        self.made += count
        if func.overloadpacket.__name__ in RANDOM:
            self.drawn += count
        return found


def actors_of(cell, device=CPU):
    setup = open_setup(cell, device, seed=0)
    return open_actors(setup, learning_rate=1e-5, value_learning_rate=1e-5)


@pytest.fixture
def packed_elsewhere(monkeypatch):
    """NF4 layers without data: bitsandbytes packs on a device that has them."""

    def packed(linear, compute, kernels):
        with ELSEWHERE:
            return nf4._packed_without_data(linear, compute, kernels)

    monkeypatch.setattr(nf4, "_packed", packed)


@pytest.mark.full
@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=PEFT_MODES))
def test_the_host_draws_none_of_four_backbones_of_8b(
    architecture, peft, make_cell, packed_elsewhere
):
    """32 billion weights, and the host makes fewer elements of all kinds than a thread draws in
    60 s, 1.5 billion. It draws the heads and the adapters, 42 million weights of the largest case,
    so that both sides of an agreement check have the same.
    """
    cell = make_cell(
        accelerator="cuda", architecture=architecture, size="8b", method="ppo", peft=peft,
        ref="resident",
    )  # fmt: skip
    with Host() as host:
        models = actors_of(cell, ELSEWHERE).models()
    assert list(models) == ["policy", "ref", "reward", "value"]
    weights = sum(p.numel() for model in models.values() for p in model.parameters())
    assert weights > (15e9 if peft == "qlora" else 30e9)  # two of NF4 are one byte
    assert host.made <= 60 * DRAWN_PER_S


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_reference_can_be_drawn_wherever_one_is_checked(architecture):
    """Whole models up to 500 million weights, the first layers of the others."""
    family = open_architecture(architecture)
    for size in family.shapes:
        whole = family.parameters(size) <= 500e6
        assert whole == (size in WHOLE_SIZES)
        assert drawing_device(size, layers=None, device_type="cuda") == ("cpu" if whole else "cuda")
        assert drawing_device(size, layers=2, device_type="cuda") == "cpu"
        assert drawing_device(size, layers=None, device_type="cpu") == "cpu"


@pytest.mark.parametrize(("size", "drawn_on"), [("tiny", "cpu"), ("1.4b", "meta")])
def test_the_setup_knows_who_drew(size, drawn_on, make_cell):
    backbones = open_setup(make_cell(accelerator="cuda", size=size), ELSEWHERE, seed=0).backbones
    with Host() as host:
        backbones.take(0)
    assert backbones.drawn_on == drawn_on
    assert (host.drawn > 0) == (drawn_on == "cpu")


@pytest.fixture
def poisoned():
    """Memory that nobody wrote to is NaN."""
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = before


def as_it_is(part):
    return part


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_drawn_there_are_of_the_same_kind(architecture, tied, poisoned, monkeypatch):
    """Same names, shapes, dtypes, ties and buffers, and the same distributions.

    A mean of n normal weights is off by a standard deviation over sqrt(n); of the hundreds of
    parameters five times that is seen by none. Biases of step sizes are few and far apart.
    """
    family = open_architecture(architecture)
    shape = {**family.shapes["tiny"], "tie_word_embeddings": tied}
    monkeypatch.setitem(family.shapes, "tiny", shape)
    here = family.build("tiny", seed=0, dtype=torch.float32)
    there = family.build_there("tiny", seed=0, dtype=torch.float32, device=CPU, store=as_it_is)
    pairs = itertools.zip_longest(here.named_parameters(), there.named_parameters())
    for (name, one), (twin, other) in pairs:
        assert (name, one.shape, one.dtype, one.requires_grad) == (
            twin, other.shape, other.dtype, other.requires_grad,
        )  # fmt: skip
        assert torch.isfinite(other).all(), name
        off = (one.mean() - other.mean()).abs()
        assert off <= 5 * one.std() * (2 / one.numel()) ** 0.5 + 1e-7, name
        assert torch.allclose(one.std(), other.std(), rtol=5 / one.numel() ** 0.5, atol=1e-7), name
    buffers = itertools.zip_longest(here.named_buffers(), there.named_buffers())
    for (name, one), (twin, other) in buffers:
        assert name == twin
        assert torch.equal(one, other), name
    assert (there.lm_head.weight is there.get_input_embeddings().weight) == tied
    with torch.no_grad():
        assert torch.isfinite(there(torch.arange(3, 20)[None]).logits).all()


def test_one_seed_draws_one_model_there():
    family = open_architecture("llama")
    first, second, other = (
        family.build_there(
            "tiny", seed=s, dtype=torch.bfloat16, device=CPU, store=lambda part: part
        )
        for s in (0, 0, 1)
    )
    weights = [model.lm_head.weight for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert {p.dtype for p in first.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_packed_model_has_one_block_in_full_at_a_time(architecture, make_cell):
    """What a small GPU holds of a QLoRA model, of which only the packed form may fit."""
    family = open_architecture(architecture)
    cell = make_cell(architecture=architecture, peft="qlora")
    setup = open_setup(cell, CPU, seed=0)
    seen = []

    def store(part):
        seen.append([name for name, m in part.named_modules() if is_full(m)])
        return setup.peft.store(part, family, cell)

    model = family.build_there("tiny", seed=0, dtype=torch.float32, device=CPU, store=store)
    kinds = [
        [type(module).__name__ for module in found.modules()]
        for found in (model, setup.backbones.take(0))
    ]
    assert kinds[0] == kinds[1]
    *blocks, rest = seen
    layers = family.build("tiny", seed=0, dtype=torch.float32).base_model.layers
    assert blocks == [[name for name, m in block.named_modules() if is_full(m)] for block in layers]
    # Last comes what is left: the head, and what the blocks keep as it is.
    kept = {name.rpartition(".")[2] for name in rest}
    assert kept <= {*family.nf4_skip}


def is_full(module):
    return type(module) is torch.nn.Linear and not module.weight.is_meta


def test_quantising_draws_nothing():
    """bitsandbytes' layers would draw the weights that they are then given."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 5))
    with Host() as host:
        quantise(model, skip=(), compute=torch.float32, kernels="stock")
    assert host.drawn == 0


def tensors_of(model):
    """Everything that a model holds, by name; quantisation by its number."""
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return found | {str(n): t for n, t in enumerate(quantisation_tensors(model))}


@pytest.mark.parametrize("peft", PEFT_MODES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_ref_model_is_the_untrained_policy_and_nothing_of_it(architecture, peft, make_cell):
    """As if it had been drawn from the same seed: the same bits, in memory of its own."""
    cell = make_cell(architecture=architecture, peft=peft, ref="resident")
    setup = open_setup(cell, CPU, seed=0)
    policy = setup.policy()
    with Host() as host:
        ref = setup.ref()
    assert host.drawn == 0
    drawn = open_setup(cell, CPU, seed=0).backbones.take(0)
    ours, theirs = tensors_of(ref), tensors_of(drawn)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not any(p.requires_grad for p in ref.parameters())
    mine = {t.untyped_storage().data_ptr() for t in tensors_of(policy).values()}
    assert mine.isdisjoint(t.untyped_storage().data_ptr() for t in ours.values())
    for module in ref.modules():
        weight = getattr(module, "weight", None)
        if getattr(weight, "quant_state", None) is not None:
            assert weight.module is module
            assert weight.quant_state is module.quant_state


def test_a_model_that_is_wanted_late_is_drawn_again(make_cell):
    """The policy trains from its optimizer on: it is nobody's original any more."""
    setup = open_setup(make_cell(peft="full", ref="resident"), CPU, seed=0)
    policy = setup.policy()
    before = copy.deepcopy(policy.state_dict())
    setup.optimizer(policy.parameters(), learning_rate=1e-5)
    with torch.no_grad():
        next(policy.parameters()).add_(1)
    with Host() as host:
        ref = setup.ref()
    assert host.drawn > 0
    assert all(torch.equal(value, before[name]) for name, value in ref.state_dict().items())


CONFIG = LlamaConfig(
    vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, intermediate_size=48, pad_token_id=0,
)  # fmt: skip


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_a_checkpoint_is_read_once(peft, make_cell, tmp_path, monkeypatch):
    AutoModelForCausalLM.from_config(CONFIG).save_pretrained(tmp_path / "m")
    reads, read = [], AutoModelForCausalLM.from_pretrained

    def counted(*arguments, **options):
        reads.append(options)
        return read(*arguments, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", counted)
    cell = make_cell(model=str(tmp_path / "m"), method="ppo", peft=peft, ref="resident")
    actors = actors_of(cell)
    assert len(reads) == 1
    assert actors.setup.backbones.drawn_on == ""
    bases = [actors.policy, actors.ref, actors.reward.backbone, actors.value.backbone]
    heads = {model.get_input_embeddings().weight.data_ptr() for model in bases}
    assert len(heads) == len(bases)


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_it_goes_straight_to_the_device(peft, make_cell, tmp_path, monkeypatch):
    """A mode that packs weights reads them on the host: the device may not hold them unpacked."""
    AutoModelForCausalLM.from_config(CONFIG).save_pretrained(tmp_path / "m")
    setup = open_setup(make_cell(model=str(tmp_path / "m"), peft=peft), ELSEWHERE, seed=0)
    monkeypatch.setattr(setup.peft.__class__, "store", lambda _, model, *__: model)
    asked = {}

    def seen(*_, **options):
        asked.update(options)
        none = {"missing_keys": (), "unexpected_keys": (), "mismatched_keys": ()}
        return AutoModelForCausalLM.from_config(CONFIG), none

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", seen)
    setup.policy()
    assert asked.get("device_map") == (None if peft == "qlora" else {"": ELSEWHERE})
    assert asked["dtype"] == precision_of(setup.cell.precision).base
