"""FLOPs against torch's counter on real steps, and scans against the operations that torch runs."""

import contextlib
import dataclasses

import pytest
import torch
from crossed import crossed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from alignmeter.architectures import open_architecture
from alignmeter.batches import open_batches
from alignmeter.flops import Mixing
from alignmeter.methods import open_method, open_setup
from alignmeter.registry import ARCHITECTURES
from alignmeter.session.findings.step_flops import network_of, step_flops
from alignmeter.training.step import SilentProbe
from alignmeter_kernels.selective_scan.reference import selective_scan_reference
from alignmeter_kernels.ssd_scan.reference import ssd_scan_reference

CPU = torch.device("cpu")


class Counter(SilentProbe):
    """Phase -> what `FlopCounterMode` sees of it."""

    def __init__(self):
        self.found = {}

    @contextlib.contextmanager
    def phase(self, name):
        with FlopCounterMode(display=False) as mode:
            yield
        self.found[name] = self.found.get(name, 0) + mode.get_total_flops()


def counted(cell):
    """One step of the cell, with attention in plain products: the counter misses it otherwise."""
    setup = open_setup(cell, CPU, seed=0)
    method = open_method(cell.method)
    step = method.build(setup)
    if ARCHITECTURES[cell.architecture].attends:
        for model in step.models().values():
            for part in model.modules():
                if isinstance(part, PreTrainedModel):
                    part.set_attn_implementation("eager")
    # The scan and the convolution become operators that the counter does not see.
    open_architecture(cell.architecture).use_kernels("custom")
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    probe = Counter()
    try:
        step.prepare(batches, SilentProbe())
        step.run(batches.take(0, CPU, method.rows), probe)
    finally:
        open_architecture(cell.architecture).use_kernels("stock")
    # A reward that is a function of tokens has a phase and no products.
    return {name: flops for name, flops in probe.found.items() if flops and name != "optimizer"}


def expected(cell):
    """What `counted` should find: recomputation happens in the backward phase."""
    flops = step_flops(cell)
    phases = flops.phases
    phases["backward"] += flops.recomputed
    return phases


AXES = [
    {"method": "sft"},
    {"method": "rm"},
    {"method": "dpo"},
    {"method": "dpo", "ref": "precomputed"},
    {"method": "ppo"},
    {"method": "ppo", "ppo_backward": "joint", "ppo_epochs": 2, "ppo_minibatches": 2},
    {"method": "ppo", "ppo_topology": "shared"},
    {"method": "ppo", "ppo_topology": "shared", "ppo_backward": "joint", "checkpointing": "on"},
    {"method": "ppo", "ppo_topology": "shared", "checkpointing": "on"},
    {"method": "dpo", "checkpointing": "on", "prompt_len": 5},
    {"method": "kto", "prompt_len": 5},
    {"method": "simpo"},
    {"method": "orpo", "prompt_len": 5},
    {"method": "grpo", "kl": "k3"},
    {"method": "grpo", "reward": "length", "checkpointing": "on"},
    {"method": "rloo"},
    {"method": "distill", "prompt_len": 5},
]


def _tier(n, m):
    if (n + m) % 2 == 0:
        return pytest.mark.exhaustive
    return pytest.mark.full if n % 3 else ()


@pytest.mark.parametrize(
    ("axes", "peft"),
    [
        pytest.param(
            axes,
            peft,
            id="-".join(map(str, [*axes.values(), peft])),
            marks=_tier(n, m),
        )
        for n, axes in enumerate(AXES)
        for m, peft in enumerate(["full", "lora"])
    ],
)
def test_every_phase_of_llama_is_what_the_counter_sees(axes, peft, make_cell):
    cell = make_cell(peft=peft, **axes)
    assert counted(cell) == expected(cell)


@pytest.mark.parametrize(
    *crossed(
        targets=[
            "attention", "mlp", "o_proj", "up_proj+down_proj", "down_proj",
            "gate_proj+q_proj+k_proj",
        ],
        checkpointing=["off", "on"],
    )
)  # fmt: skip
def test_adapters_on_some_layers_are_what_the_counter_sees(targets, checkpointing, make_cell):
    """Nothing before the first adapter of the first block needs a gradient, unless it is
    checkpointed. Values without an adapter need none there either, which only plain products spare.
    """
    cell = make_cell(method="dpo", peft="lora", lora_targets=targets, checkpointing=checkpointing)
    spared = 0
    if checkpointing == "off" and "q_proj" in targets:
        setup = open_setup(cell, CPU, seed=0)
        shape = setup.architecture.shape(cell.size)
        spared = 2 * 2 * cell.batch * cell.seq_len**2 * shape["hidden_size"]
    found, wanted = counted(cell), expected(cell)
    assert wanted.pop("backward") - found.pop("backward") == spared
    assert found == wanted


@pytest.fixture
def unmixed(monkeypatch):
    """A function that leaves recurrence and convolution out of an architecture's count."""

    def leave_out(architecture):
        family = open_architecture(architecture)
        without = dataclasses.replace(
            family,
            blocks=lambda shape: tuple(
                (dataclasses.replace(block, mixing=Mixing()), n)
                for block, n in family.blocks(shape)
            ),
        )
        monkeypatch.setattr(ARCHITECTURES[architecture].path.replace(":", "."), without)

    return leave_out


@pytest.mark.parametrize(
    *crossed(
        architecture=[n for n, row in ARCHITECTURES.items() if row.state_space],
        checkpointing=["off", "on"],
        peft=["full", "lora"],
    )
)
def test_products_of_a_state_space_model_are_what_the_counter_sees(
    architecture, checkpointing, peft, make_cell, unmixed
):
    """All but the recurrence and the convolution, which are counted below."""
    unmixed(architecture)
    cell = make_cell(
        method="dpo", architecture=architecture, peft=peft, checkpointing=checkpointing
    )
    assert counted(cell) == expected(cell)


@pytest.mark.parametrize("targets", ["attention", "mlp", "in_proj", "o_proj", "in_proj+o_proj"])
@pytest.mark.parametrize("checkpointing", ["off", "on"])
def test_layers_of_two_kinds_are_what_the_counter_sees(targets, checkpointing, make_cell, unmixed):
    """Of a hybrid's three layers the second attends: with adapters on attention alone nothing of
    the first needs a gradient, and nothing of the third is spared.
    """
    unmixed("hybrid")
    cell = make_cell(
        method="dpo", architecture="hybrid", peft="lora", lora_targets=targets,
        checkpointing=checkpointing,
    )  # fmt: skip
    assert counted(cell) == expected(cell)


def test_qlora_is_counted_as_lora(make_cell):
    """Forward, an NF4 product is one operator that the counter does not see; backward it does."""
    pytest.importorskip("bitsandbytes")
    cell = make_cell(method="dpo", peft="qlora")
    assert counted(cell)["backward"] == expected(cell)["backward"]
    assert step_flops(cell) == step_flops(make_cell(method="dpo", peft="lora"))


def test_a_checkpoint_is_counted_by_its_own_shape(tmp_path, make_cell):
    """Heads that are wider than their share of the model, and keys shared by two of them."""
    config = Qwen3Config(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    cell = make_cell(method="dpo", peft="lora", model=str(tmp_path))
    assert [(b.attention, n) for b, n in network_of(cell).blocks] == [(4 * 32, 2)]
    assert counted(cell) == expected(cell)


class StateSized(TorchDispatchMode):
    """FLOPs of elementwise operations and sums over tensors as large as the state."""

    COUNTED = ("mul", "add", "add_", "exp", "sum")

    def __init__(self, states):
        self.states, self.flops = states, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        largest = max(t.numel() for t in (*args, out) if isinstance(t, torch.Tensor))
        nothing = name == "sum" and out.numel() == largest  # over the one row
        if name in self.COUNTED and largest >= self.states and not nothing:
            self.flops += largest
        return out


def selective(length, frozen):
    u, delta = torch.randn(2, 1, 32, length).requires_grad_().unbind(0)
    B, C = torch.randn(2, 1, 16, length).requires_grad_().unbind(0)
    A = -torch.rand(32, 16, requires_grad=not frozen)
    with StateSized(32 * 16) as mode:
        y, _ = selective_scan_reference(u, delta, A, B, C)
    return mode, y, 32 * 16


def ssd(length, frozen):
    x = torch.randn(1, length, 4, 8, requires_grad=True)
    dt = torch.rand(1, length, 4, requires_grad=True)
    B, C = torch.randn(2, 1, length, 1, 64).requires_grad_().unbind(0)
    A = -torch.rand(4, requires_grad=not frozen)
    with StateSized(4 * 8 * 64) as mode:
        y, _ = ssd_scan_reference(x, dt, A, B, C)
    return mode, y, 4 * 8 * 64


def per_state(scan, length, frozen):
    """(forward, backward) per state of one more token: what the ends cost drops out."""
    found = []
    for tokens in (length, length + 1):
        mode, y, states = scan(tokens, frozen)
        forward = mode.flops
        with StateSized(states) as mode:
            y.sum().backward()
        found.append((forward, mode.flops))
    (forward, backward), (more, more_backward) = found
    return (more - forward) / states, (more_backward - backward) / states


@pytest.mark.parametrize(
    ("scan", "frozen", "forward", "backward"),
    [(selective, False, 7, 15), (selective, True, 7, 13), (ssd, False, 5, 11), (ssd, True, 5, 11)],
)
def test_recurrences_are_counted_as_autograd_runs_them(scan, frozen, forward, backward):
    assert per_state(scan, 5, frozen) == (forward, backward)
