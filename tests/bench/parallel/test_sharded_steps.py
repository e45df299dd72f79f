"""Two processes that share a step give what one process gives with the same global batch."""

import os
from itertools import product

import pytest
from rank_pair import (
    SIZE,
    STEPS,
    built_bytes,
    faulty,
    gradient_apart,
    loss_apart,
    run_steps,
    signals,
)

from alignmeter.architectures.precision import precision_of
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES

LIMIT = 1e-5
"""Of losses relative, of gradients in relative L2: sums of fp32 in another order."""
CANCELLING = {"grpo": 1.0, "rloo": 1.0, "ppo": 0.1}
"""Advantages add up to nothing in a group, or once they are whitened, so that a loss is what is
left of terms of their size; PPO's has a tenth of the value's loss beside them.
"""
RAGGED = {"data": "lengths:hh", "batching": "padded", "seq_len": 48}
PPO_LAYOUTS = [
    {"ppo_topology": topology, "ppo_backward": backward}
    for topology, backward in product(("separate", "shared"), ("sequential", "joint"))
]


def several(axes):
    return {"world_size": SIZE, "parallel": "fsdp2", **axes}


def named(axes):
    return "-".join(str(value) for name, value in axes.items() if name not in RAGGED)


def check_steps(pair, axes, *, steps=STEPS):
    """Losses, metrics and counts of every step, and the gradients of the first one."""
    one = run_steps({**axes, "world_size": 1}, steps)
    ranks = pair.call(run_steps, several(axes), steps)
    for rank in ranks:
        assert loss_apart(rank, one, term=CANCELLING.get(axes["method"], 0.0)) <= LIMIT
        assert gradient_apart(rank, one) <= LIMIT
        for found, wanted in zip(rank.metrics, one.metrics, strict=True):
            assert found == pytest.approx(wanted, rel=LIMIT, abs=LIMIT)
    assert ranks[0].losses == ranks[1].losses
    assert [rank.tokens[0][0] for rank in ranks] == [one.tokens[0][0]] * SIZE


COVERING = [
    {"method": "sft", "architecture": "llama", "peft": "full", **RAGGED},
    {"method": "ppo", "architecture": "llama", "peft": "full", **PPO_LAYOUTS[3]},
    {"method": "ppo", "architecture": "mamba", "peft": "lora", "parallel": "ddp", **PPO_LAYOUTS[2]},
    {"method": "grpo", "architecture": "hybrid", "peft": "qlora", "group": 4},
]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("axes", COVERING, ids=named)
def test_two_ranks_are_one_process(pair, axes):
    check_steps(pair, {"kernels": "custom", **axes}, steps=2)


def every_cell():
    for method, architecture, peft, parallel in product(
        METHODS, ARCHITECTURES, PEFT_MODES, ("fsdp2", "ddp")
    ):
        if architecture == "hybrid":
            continue
        for layout in PPO_LAYOUTS if method == "ppo" else [{}]:
            yield {
                "method": method, "architecture": architecture, "peft": peft,
                "parallel": parallel, "kernels": "custom", **layout,
            }  # fmt: skip


EVERY = "ALIGNMETER_EVERY_CELL"
ONE_IN = 5
"""Prime to the cells of a layout, so that what is taken moves through all of its values."""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "axes",
    [
        pytest.param(
            axes,
            marks=pytest.mark.skipif(
                number % ONE_IN > 0 and EVERY not in os.environ,
                reason=f"one cell in {ONE_IN} is taken; {EVERY}=1 takes all",
            ),
        )
        for number, axes in enumerate(every_cell())
    ],
    ids=named,
)
def test_two_ranks_are_one_process_for_every_method(pair, axes):
    check_steps(pair, axes)


MORE = [
    {"method": "kto", "peft": "qlora", "parallel": "ddp", **RAGGED},
    {"method": "distill", "peft": "full", "kernels": "custom"},
    {"method": "dpo", "architecture": "hybrid", "peft": "full"},
    {"method": "dpo", "peft": "full", "ref": "precomputed", "batch": 4},
    {"method": "dpo", "peft": "qlora", "kernels": "stock", "checkpointing": "on"},
    {"method": "orpo", "peft": "lora", "microbatches": 2, "batch": 4, **RAGGED},
    {"method": "rm", "peft": "full", "microbatches": 2, "batch": 4, "architecture": "mamba2"},
    {"method": "sft", "peft": "lora", "rows": 6, **RAGGED, "batching": "packed"},
    {"method": "sft", "peft": "full", "loss_head": "liger", **RAGGED},
    {"method": "ppo", "peft": "lora", "rollout_weights": "gathered", **PPO_LAYOUTS[3]},
    {"method": "rloo", "peft": "full", "rollout_weights": "gathered", "reward": "token-share"},
    {"method": "grpo", "peft": "lora", "grpo_variant": "dapo", "kl": "k3", **RAGGED},
    {"method": "distill", "peft": "lora", "rollout": "static", "rollout_weights": "gathered"},
    {"method": "ppo", "peft": "full", "checkpointing": "on", **RAGGED, **PPO_LAYOUTS[2]},
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("axes", MORE, ids=named)
def test_axes_that_change_what_ranks_exchange(pair, axes):
    check_steps(pair, axes)


FAULTY = [
    ("local means", {"method": "ppo", "peft": "full", **PPO_LAYOUTS[3]}),
    ("local token mean", {"method": "sft", "peft": "full", **RAGGED}),
]


@pytest.mark.parametrize(("fault", "axes"), FAULTY, ids=[fault for fault, _ in FAULTY])
def test_means_of_one_ranks_rows_would_be_seen(pair, fault, axes):
    """The control of the tests above: a loss hides it, gradients do not."""
    one = run_steps({**axes, "world_size": 1}, 1)
    for rank in pair.call(run_steps, several(axes), 1, fault=fault):
        assert gradient_apart(rank, one) > 1000 * LIMIT


def test_a_value_pass_outside_the_root_would_be_seen(pair):
    """Its embeddings are shares again once the policy has had its backward pass."""
    axes = {"method": "ppo", "peft": "lora", **PPO_LAYOUTS[2]}
    for kind, found in pair.answers(run_steps, several(axes), 1, fault="value outside the root"):
        assert kind == "failed"
        assert "got mixed torch.Tensor and DTensor" in found


SAMPLED = {"method": "grpo", "peft": "lora"}


@pytest.mark.full
@pytest.mark.parametrize("more", [{"rollout_weights": "gathered"}, RAGGED], ids=["equal", "ragged"])
def test_ranks_sample_what_one_process_samples(pair, more):
    """Prompts of several lengths too, where each rank has to decode as long as the other."""
    axes = {**SAMPLED, **more}
    one, ranks = run_steps({**axes, "world_size": 1}, 2), pair.call(run_steps, several(axes), 2)
    for step, wanted in enumerate(one.rollouts):
        found = [row for rank in ranks for row in rank.rollouts[step]]
        shortest = min(map(len, found))  # a rank has no columns for the other's longer prompts
        assert [row[:shortest] for row in found] == [row[:shortest] for row in wanted]
    assert [rank.tokens for rank in ranks] == [one.tokens] * SIZE or "batching" in axes


def test_draws_of_one_ranks_own_would_be_seen(pair):
    one = run_steps({**SAMPLED, "world_size": 1}, 1)
    ranks = pair.call(run_steps, several(SAMPLED), 1, fault="own draws")
    assert [row for rank in ranks for row in rank.rollouts[0]] != one.rollouts[0]


def test_a_rank_holds_its_share(pair):
    axes = {"method": "ppo", "peft": "full", **PPO_LAYOUTS[3]}
    one = run_steps({**axes, "world_size": 1}, 1)
    for rank in pair.call(run_steps, several(axes), 1):
        held = rank.weight_bytes + rank.state_bytes
        assert held <= 0.51 * (one.weight_bytes + one.state_bytes)
    for rank in pair.call(run_steps, several({**axes, "parallel": "ddp"}), 1):
        assert rank.weight_bytes == one.weight_bytes


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "axes",
    [
        {"method": "dpo", "peft": "full"},
        {"method": "dpo", "peft": "full", "architecture": "mamba2", "parallel": "ddp"},
        {"method": "ppo", "peft": "full", **PPO_LAYOUTS[0]},
        {"method": "ppo", "peft": "lora", "architecture": "mamba", **PPO_LAYOUTS[3]},
        {"method": "rm", "peft": "lora", "architecture": "hybrid"},
        {"method": "dpo", "peft": "qlora"},
        {"method": "sft", "peft": "qlora", "kernels": "stock", "embeddings": "float32"},
        {"method": "ppo", "peft": "qlora", "architecture": "mamba2", **PPO_LAYOUTS[0]},
        {"method": "dpo", "peft": "qlora", "architecture": "mamba", "parallel": "ddp"},
    ],
    ids=named,
)
def test_ranks_draw_what_one_process_draws(pair, axes):
    """Where a device draws: block by block, so that no rank has a whole model at any time."""
    axes = {"kernels": "custom", **axes}
    with faulty("drawn there"):
        one = run_steps({**axes, "world_size": 1}, 3)
        whole = built_bytes({**axes, "world_size": 1})
    for rank in pair.call(run_steps, several(axes), 3, fault="drawn there"):
        assert loss_apart(rank, one) <= LIMIT
        assert gradient_apart(rank, one) <= LIMIT
    if axes.get("parallel") != "ddp" and axes["peft"] != "qlora":  # two layers are half a block
        for most in pair.call(built_bytes, several(axes), fault="drawn there"):
            assert most <= 0.85 * whole
    apart = gradient_apart(run_steps({**axes, "world_size": 1}, 1), one)
    assert apart > 1000 * LIMIT  # the control: other weights are seen


@pytest.mark.full
@pytest.mark.parametrize("peft", PEFT_MODES)
def test_no_rank_has_a_deep_model_whole(pair, config_of_16_layers, peft):
    """Packed weights neither: each rank packs a block, and keeps its share of it."""
    axes = {"method": "dpo", "peft": peft, "model": config_of_16_layers, "kernels": "custom"}
    with faulty("drawn there"):
        one = run_steps({**axes, "world_size": 1}, 1)
        whole = built_bytes({**axes, "world_size": 1})
    for rank in pair.call(run_steps, several(axes), 1, fault="drawn there"):
        assert loss_apart(rank, one) <= LIMIT
        assert gradient_apart(rank, one) <= LIMIT
    for most in pair.call(built_bytes, several(axes), fault="drawn there"):
        assert most <= 0.85 * whole


def test_mixed_precision_casts_shares_and_reduces_in_fp32(pair):
    axes = {"method": "dpo", "peft": "full", "precision": "bf16-mixed"}
    one = run_steps({**axes, "world_size": 1}, 2)
    band = precision_of("bf16-mixed").band
    for rank in pair.call(run_steps, several(axes), 2):
        assert loss_apart(rank, one) <= band
        assert LIMIT < gradient_apart(rank, one) <= 2 * band


def test_the_agreement_check_sees_the_whole_step(pair):
    axes = {"method": "dpo", "peft": "lora", "batch": 4}
    wanted, silent = signals({**axes, "world_size": 1})
    for found, quiet in pair.call(signals, several(axes)):
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            assert found[name] == pytest.approx(values, rel=LIMIT)
        assert quiet == silent == []
