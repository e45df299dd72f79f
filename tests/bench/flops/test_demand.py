"""Bytes and FLOPs that a step asks for at least, against counts by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from alignmeter.analysis.chips import peaks
from alignmeter.analysis.roofline import bound_of, ceilings_of
from alignmeter.cells.cell import as_teacher
from alignmeter.peft.nf4 import packed_bytes, quantisation_tensors, quantise
from alignmeter.planner import predict
from alignmeter.registry import ARCHITECTURES, METHODS, OPTIMIZERS, PEFT_MODES
from alignmeter.session.findings.step_flops import network_of, step_demand, step_flops, unbounded
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.optimizers import Stepped, open_optimizer

LAYER = 4 * 192 * 192 + 3 * 192 * 320
HEAD = 512 * 192
MODEL = 3 * LAYER + HEAD
"""llama tiny: 3 layers of q, k, v, o (192 x 192) and gate, up, down (192 x 320); 512 ids, tied."""
ADAPTERS = 3 * (4 * 16 * (192 + 192) + 3 * 16 * (192 + 320))
"""Of rank 16 on all seven."""


def moved(cell):
    return {phase: asked.moved_bytes for phase, asked in step_demand(cell).items()}


def test_full_fine_tuning_by_hand(make_cell):
    """fp32: forward reads each weight; backward reads it and writes its gradient; AdamW reads the
    gradient, reads and writes the weight (12 bytes) and two moments (16 bytes).
    """
    assert (LAYER, MODEL) == (331_776, 1_093_632)
    assert moved(make_cell(method="sft")) == {
        "forward": 4 * MODEL, "backward": 8 * MODEL, "optimizer": 28 * MODEL,
    }  # fmt: skip
    halved = moved(make_cell(method="sft", precision="bf16"))
    assert halved == {"forward": 2 * MODEL, "backward": 4 * MODEL, "optimizer": 14 * MODEL}
    # Autocast: fp32 is read, its copies in bf16 again; gradients and moments are fp32.
    mixed = moved(make_cell(method="sft", precision="bf16-mixed"))
    assert mixed == {"forward": 4 * MODEL, "backward": 6 * MODEL, "optimizer": 28 * MODEL}


def test_flops_of_the_bound_leave_out_what_the_mask_does_and_take_in_what_is_recomputed(make_cell):
    """16 tokens: 120 of 256 pairs are masked; a layer's attention is 4 x 192 x 2 x 2 x 256."""
    cell = make_cell(method="sft", batch=2, checkpointing="on")
    asked, counted = step_demand(cell), step_flops(cell)
    masked = 3 * 4 * 192 * 4 * 120
    assert asked["forward"].flops == counted.trained - masked
    assert asked["backward"].flops == counted.backward + counted.recomputed - 3 * masked
    assert asked["optimizer"].flops == 0
    off = step_demand(make_cell(method="sft", batch=2))
    assert off["backward"].flops == counted.backward - 2 * masked
    assert off["backward"].moved_bytes == asked["backward"].moved_bytes


def test_a_rollout_by_hand(make_cell):
    """2 rows, 4 prompt tokens, 8 in all: the prompts at once, then 3 calls for a token of each row.

    Each call reads every weight. The three tokens of a row meet 5, 6 and 7 keys of 192 values, and
    as many values, in each of 3 layers.
    """
    asked = step_demand(make_cell(method="ppo", batch=1, seq_len=8))["rollout"]
    cache = 3 * 2 * 192 * 2 * (5 + 6 + 7)
    assert asked.moved_bytes == 4 * (4 * MODEL + cache)
    assert asked.call_bytes == 4 * MODEL + 4 * cache // 3
    # Copies that autocast keeps through the whole rollout, and keys in bf16.
    mixed = step_demand(make_cell(method="ppo", batch=1, seq_len=8, precision="bf16-mixed"))
    assert mixed["rollout"].moved_bytes == 4 * MODEL + 2 * (3 * MODEL + cache)
    assert (
        asked
        == step_demand(make_cell(method="ppo", batch=1, seq_len=8, rollout="static"))["rollout"]
    )


def test_a_state_is_read_and_written_by_each_token(make_cell):
    """Mamba tiny: 4 layers, inner 384, state 16; 2 rows of 3 tokens that are fed one by one."""
    for architecture, state in (("mamba", 16), ("mamba2", 64)):
        cell = make_cell(method="ppo", batch=1, seq_len=8, architecture=architecture)
        ((block, _),) = network_of(cell).blocks
        model = 4 * sum(p.inputs * p.outputs for p in block.products) + HEAD
        states = 4 * 2 * 384 * state * 2 * 3
        assert step_demand(cell)["rollout"].moved_bytes == 4 * (4 * model + states)


def test_layers_of_two_kinds_by_hand(make_cell):
    """Hybrid tiny: Mamba-2, attention, Mamba-2, each with an MLP of 192; 4 prompt tokens, 3 fed.

    With adapters on attention alone no gradient passes through the first layer, nor through q, k
    and v of the second.
    """
    cell = make_cell(method="ppo", batch=1, seq_len=8, architecture="hybrid")
    mlp, attention = 3 * 192 * 192, 4 * 192 * 192
    mixer = 192 * (2 * 384 + 2 * 64 + 12) + 384 * 192
    blocks = 2 * mixer + attention + 3 * mlp
    states, keys = 2 * 2 * 384 * 64 * 2 * 3, 2 * 192 * 2 * (5 + 6 + 7)
    found = step_demand(cell)["rollout"].moved_bytes
    assert found == 4 * (4 * (blocks + 192 * 512) + states + keys)
    sft = moved(
        make_cell(method="sft", architecture="hybrid", peft="lora", lora_targets="attention")
    )
    adapters = 4 * 16 * (192 + 192)
    idle = mixer + mlp + 3 * 192 * 192 + 3 * 16 * 192
    assert sft["backward"] == 4 * (blocks + 2 * adapters - idle)


def test_keys_that_heads_share_are_cached_once(make_cell):
    """Llama-3-8B: 8 of 32 heads have keys, 128 values each; its table of ids is not its head."""
    cell = make_cell(method="ppo", batch=1, seq_len=8, size="8b", precision="bf16")
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    model = 32 * layer + 128_256 * 4096
    assert moved(cell)["rollout"] == 2 * (4 * model + 32 * 2 * 1024 * 2 * (5 + 6 + 7))
    trained = model + 128_256 * 4096
    sft = moved(make_cell(method="sft", size="8b", precision="bf16"))
    assert sft == {
        "forward": 2 * model, "backward": 2 * (model + trained), "optimizer": 14 * trained,
    }  # fmt: skip


def test_adapters_by_hand(make_cell):
    """No gradient passes through q, k and v of the first layer, nor through the A beside them; one
    through the frozen head may be found in the forward pass.
    """
    idle, blocks = 3 * 192 * 192 + 3 * 16 * 192, 3 * LAYER
    assert ADAPTERS == 147_456
    assert moved(make_cell(method="sft", peft="lora")) == {
        "forward": 4 * (MODEL + ADAPTERS),
        "backward": 4 * (blocks + ADAPTERS - idle) + 4 * ADAPTERS,
        "optimizer": 28 * ADAPTERS,
    }
    checkpointed = moved(make_cell(method="sft", peft="lora", checkpointing="on"))
    assert checkpointed["backward"] == 4 * (blocks + 2 * ADAPTERS)
    mlp = moved(make_cell(method="sft", peft="lora", lora_targets="mlp"))
    adapters = 3 * 3 * 16 * (192 + 320)
    idle = 4 * 192 * 192 + 2 * 192 * 320 + 2 * 16 * 192
    assert mlp["backward"] == 4 * (blocks + 2 * adapters - idle)
    # 2 x 2 x 8 tokens of answers on the head, one product of 2 x 192 x 512 each.
    cell = make_cell(method="sft", batch=2, peft="lora")
    masked = 3 * 4 * 192 * 4 * 120
    flops = step_flops(cell).backward - 2 * masked - 4 * 8 * 2 * HEAD
    assert step_demand(cell)["backward"].flops == flops
    dpo = moved(make_cell(method="dpo", peft="lora"))
    assert dpo["ref_forward"] == 4 * MODEL
    assert moved(make_cell(method="dpo", peft="lora", ref="resident")) == dpo


def test_nf4_by_hand(make_cell):
    """36864 values: 18432 bytes, 576 blocks of 64 with a byte each, 3 of 256 of those with a float:
    19020; 61440: 30720 + 960 + 4 x 4 = 31696. Adapters are fp32, and the head is bf16 or widened.
    """
    assert (packed_bytes(36_864), packed_bytes(61_440)) == (19_020, 31_696)
    model = 3 * (4 * 19_020 + 3 * 31_696)
    cell = make_cell(method="sft", peft="qlora", precision="bf16-base")
    assert moved(cell)["forward"] == model + 2 * HEAD + 4 * ADAPTERS
    wide = make_cell(method="sft", peft="qlora", precision="bf16-base", embeddings="float32")
    assert moved(wide)["forward"] == model + 4 * HEAD + 4 * ADAPTERS
    # Of Mamba only in_proj is packed: 192 x 768 values.
    mamba = make_cell(method="rm", peft="qlora", architecture="mamba", precision="bf16")
    loose = 384 * 44 + 12 * 384 + 384 * 192
    expected = packed_bytes(192 * 768) + 2 * loose + 2 * 16 * (192 + 768)
    assert moved(mamba)["forward"] == 4 * expected


def test_packed_bytes_are_those_of_a_real_layer():
    for shape in ((192, 320), (64, 200)):
        model = nn.Sequential(nn.Linear(*shape, bias=False))
        packed = quantise(model, skip=(), compute=torch.bfloat16, kernels="stock").to("cpu")
        tensors = [*packed.parameters(), *quantisation_tensors(packed)]
        tables = 4 * (16 + 256 + 1)  # levels, levels of the scales, and the scales' mean
        assert sum(t.nbytes for t in tensors) == packed_bytes(shape[0] * shape[1]) + tables


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_are_those_of_a_real_optimizer(name, dtype, make_cell):
    """Two large matrices, within a block and without; a table that all share is not counted."""
    kind, cell = open_optimizer(name), make_cell(optimizer=name)
    if kind.missing(cell):
        pytest.skip(kind.missing(cell))
    weights = [nn.Parameter(torch.randn(96, 128).to(dtype)) for _ in range(2)]
    weights.append(nn.Parameter(torch.randn(16, 64).to(dtype)))
    stepped = Stepped(parameters=weights, inner=weights[1:])
    optimizer = kind.make(stepped, learning_rate=1e-3, cell=cell)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    for number, weight in enumerate(weights):
        state = {n: t for n, t in optimizer.state[weight].items() if torch.is_tensor(t)}
        found = sum(t.nbytes for n, t in state.items() if t.dim() and not n.startswith("qmap"))
        counted = kind.state_bytes(weight.numel(), dtype.itemsize, number > 0)
        vectors = 8 * sum(weight.shape) if name == "adafactor" else 0
        assert counted <= found <= counted + vectors


def test_calls_are_counted_and_optimizer_steps_apart(make_cell):
    once, twice = (moved(make_cell(method="dpo", microbatches=n)) for n in (1, 2))
    expected = {phase: 2 * once[phase] for phase in ("ref_forward", "forward", "backward")}
    assert twice == {**expected, "optimizer": once["optimizer"]}
    ppo = moved(make_cell(method="ppo", batch=3))
    # Four minibatches of six rows are three of two.
    parts = moved(make_cell(method="ppo", batch=3, ppo_minibatches=4))
    assert parts == ppo | {phase: 3 * ppo[phase] for phase in ("forward", "backward", "optimizer")}
    assert parts == moved(make_cell(method="ppo", batch=3, ppo_epochs=3))


def test_one_backbone_steps_once_for_both_losses(make_cell):
    joint, sequential = (
        moved(make_cell(method="ppo", ppo_topology="shared", ppo_backward=backward))
        for backward in ("joint", "sequential")
    )
    assert joint["optimizer"] == sequential["optimizer"] == 28 * MODEL
    assert sequential["backward"] == joint["backward"] + 4 * 3 * LAYER + 4 * MODEL
    separate = moved(make_cell(method="ppo"))
    assert separate["optimizer"] == 2 * 28 * MODEL


def test_a_teacher_has_weights_of_its_own_size(make_cell):
    cell = make_cell(method="distill", teacher="130m")
    network = network_of(as_teacher(cell))
    blocks = sum(n * p.inputs * p.outputs for b, n in network.blocks for p in b.products)
    found = moved(cell)
    assert found["teacher_forward"] == 4 * blocks
    assert found["forward"] == 4 * (network.width * network.vocab + MODEL)


def test_the_docs_table_is_what_is_counted(make_cell):
    text = (Path(__file__).parents[3] / "docs" / "flops.md").read_text()
    axes = {"size": "8b", "seq_len": 1024, "batch": 1, "precision": "bf16"}
    demand = step_demand(make_cell(method="ppo", peft="lora", **axes))
    bound = bound_of(demand, ceilings_of(peaks()["H100-SXM"]))
    for phase, asked in demand.items():
        least = bound.phases[phase]
        row = f"| {phase} | {asked.flops / 1e12:.1f} | {asked.moved_bytes / 1e9:.1f} | "
        assert f"{row}{least.seconds * 1e3:.1f} ms, by {least.limit} |" in text


def test_a_served_engine_has_no_bound(make_cell):
    cell = make_cell(method="grpo", rollout="vllm", accelerator="cuda")
    assert unbounded(cell) == "what rollout = vllm computes and moves is its own"
    with pytest.raises(ValueError, match="is its own"):
        step_demand(cell)
    assert "are not counted" in unbounded(make_cell(batching="padded"))


AXES = st.fixed_dictionaries({
    "method": st.sampled_from(list(METHODS)),
    "architecture": st.sampled_from(list(ARCHITECTURES)),
    "peft": st.sampled_from(list(PEFT_MODES)),
    "size": st.sampled_from(["tiny", "1.4b"]),
    "checkpointing": st.sampled_from(["off", "on"]),
})  # fmt: skip


@given(AXES, st.integers(2, 5), st.integers(2, 40))
def test_a_larger_batch_and_a_longer_sequence_take_no_less(axes, batch, half):
    def bounds(**more):
        given = {"accelerator": "cpu", "data": "synthetic", "kernels": "stock", **axes, **more}
        demand = step_demand(resolve_cell(given).cell)
        chips = filter(None, map(ceilings_of, peaks().values()))
        return [bound_of(demand, ceilings).seconds for ceilings in chips]

    small = {"batch": batch, "seq_len": 2 * half, "prompt_len": half}
    first = bounds(**small)
    wider, longer = (
        bounds(**{**small, "batch": batch + 1}),
        bounds(**{**small, "seq_len": 2 * half + 1}),
    )
    assert all(0 < a <= b for more in (wider, longer) for a, b in zip(first, more, strict=True))


def test_a_plan_has_it(make_cell):
    cell = make_cell(method="sft")
    assert predict(cell).demand == step_demand(cell)
    unknown = predict(make_cell(method="sft", batching="padded"))
    assert unknown.demand == {}
    assert unknown.demand_reason == unbounded(unknown.cell)
