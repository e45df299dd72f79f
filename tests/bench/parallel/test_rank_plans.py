"""Plans of ranks beside two ranks that were measured, and what they say is sent, by hand."""

import pytest
from rank_pair import SIZE, cell_of, ledger

from alignmeter.architectures import open_architecture
from alignmeter.planner import NotPlannedError, predict
from alignmeter.planner.fake_ranks import fake_ranks
from alignmeter.planner.layers import predict_peak
from alignmeter.session.findings.step_flops import step_demand
from alignmeter.session.resolve import resolve_cell

NEAR = 0.01
LARGE = {"seq_len": 64, "batch": 4, "world_size": SIZE, "parallel": "fsdp2"}
TOKENS, LAYERS = 8, open_architecture("llama").shape("tiny")["num_hidden_layers"]


def check_plan(pair, axes):
    axes = {**LARGE, **axes}
    plan = predict(cell_of(axes))
    for peak, rows in pair.call(ledger, axes):
        assert plan.peak_bytes == pytest.approx(peak, rel=NEAR)
        apart = {name: plan.ledger[name] - rows[name] for name in rows}
        # With shards of one, what a first step gathers into has no name yet.
        apart["activations_bytes"] += apart.pop("gathered_weights_bytes")
        assert max(map(abs, apart.values())) <= NEAR * peak, apart


def sent_by(axes):
    plan = predict(cell_of({**LARGE, **axes}))
    return plan, {
        phase: {kind: (one.calls, one.bytes) for kind, one in kinds.items()}
        for phase, kinds in plan.communication.items()
    }


@pytest.mark.full
def test_a_plan_is_what_a_rank_measures(pair):
    check_plan(pair, {"method": "dpo", "peft": "full"})


@pytest.mark.exhaustive
@pytest.mark.parametrize("parallel", ["fsdp2", "ddp"])
@pytest.mark.parametrize(
    "axes",
    [
        {"method": "dpo", "peft": "lora"},
        {"method": "dpo", "peft": "qlora"},
        {"method": "dpo", "peft": "full", "architecture": "mamba2"},
        {"method": "dpo", "peft": "full", "precision": "bf16-mixed"},
        {"method": "sft", "peft": "full", "checkpointing": "on"},
        {"method": "ppo", "peft": "full"},
        {"method": "ppo", "peft": "lora", "ppo_topology": "shared"},
        {"method": "grpo", "peft": "lora", "architecture": "mamba"},
        {"method": "grpo", "peft": "full", "rollout_weights": "gathered"},
        {"method": "orpo", "peft": "full", "microbatches": 2},
        {"method": "dpo", "peft": "full", "kernels": "custom", "checkpointing": "on"},
        {"method": "ppo", "peft": "lora", "kernels": "custom", "architecture": "mamba2"},
    ],
    ids=lambda axes: "-".join(map(str, axes.values())),
)
def test_every_kind_of_plan_is(pair, axes, parallel):
    if parallel == "ddp" and "rollout_weights" in axes:
        pytest.skip("only shares of weights are gathered")
    check_plan(pair, {**axes, "parallel": parallel})


def test_each_pass_gathers_the_weights_and_the_backward_pass_reduces_as_many():
    """In fp32, embeddings tied. The backward pass gathers blocks again, and has the root still."""
    plan, sent = sent_by({"method": "sft", "peft": "full"})
    weights = 4 * plan.trained_parameters
    assert sent["forward"] == {"all_gather": (1 + LAYERS, weights)}
    assert sent["backward"]["reduce_scatter"] == (1 + LAYERS, weights)
    calls, gathered = sent["backward"]["all_gather"]
    assert (calls, gathered < weights) == (LAYERS, True)
    assert plan.demand["forward"].sent_bytes == {"all_gather": weights}


def test_data_parallel_ranks_reduce_gradients_and_send_no_weights():
    plan, sent = sent_by({"method": "sft", "peft": "full", "parallel": "ddp"})
    weights = 4 * plan.trained_parameters
    assert "forward" not in sent
    assert sent["backward"] == {"all_reduce": (1 + LAYERS, weights)}
    whole = predict(cell_of({**LARGE, "method": "sft", "peft": "full", "batch": 2, "world_size": 1,
                             "parallel": "none"}))  # fmt: skip
    assert plan.ledger["policy_weights_bytes"] == whole.ledger["policy_weights_bytes"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("rollout", "weights"),
    [
        ("eager", "sharded"),
        pytest.param("static", "sharded", marks=pytest.mark.exhaustive),
        pytest.param("eager", "gathered", marks=pytest.mark.exhaustive),
        pytest.param("static", "gathered", marks=pytest.mark.exhaustive),
    ],
)
def test_a_rollout_gathers_for_each_token_or_once(rollout, weights):
    """Tokens that a trace leaves out send too. The first pass is the prompts', for a token each."""
    axes = {"method": "grpo", "peft": "full", "rollout": rollout, "rollout_weights": weights}
    _, sent = sent_by({**axes, "seq_len": 2 * TOKENS, "prompt_len": TOKENS})
    calls, _ = sent["rollout"]["all_gather"]
    once = 1 + LAYERS
    assert calls == (once if weights == "gathered" else 1 + TOKENS * LAYERS)


def test_a_device_is_asked_for_its_rows_and_its_share_of_the_optimizer():
    cells = {
        size: cell_of({"method": "dpo", "peft": "full", "batch": size, "world_size": size,
                       "parallel": "none" if size == 1 else "fsdp2"})
        for size in (1, 4)
    }  # fmt: skip
    alone, shared = step_demand(cells[1]), step_demand(cells[4])
    for phase, asked in alone.items():
        assert shared[phase].flops == asked.flops
        share = 4 if phase == "optimizer" else 1
        assert shared[phase].moved_bytes == asked.moved_bytes // share


def test_ranks_are_gone_after_a_plan_that_failed():
    def fail():
        with fake_ranks(2):
            raise NotPlannedError("no")

    for _ in range(2):  # the second one would find the first one's group
        with pytest.raises(NotPlannedError):
            fail()


@pytest.mark.exhaustive
@pytest.mark.parametrize("parallel", ["fsdp2", "ddp"])
@pytest.mark.parametrize("method", ["dpo", "ppo", "grpo"])
@pytest.mark.parametrize("peft", ["full", "lora", "qlora"])
def test_shallow_plans_of_ranks_are_whole_ones(config_of_16_layers, parallel, method, peft):
    axes = {
        "accelerator": "cuda", "data": "synthetic", "model": config_of_16_layers, "method": method,
        "peft": peft, "parallel": parallel, "world_size": 8, "batch": 8, "seq_len": 128,
        "checkpointing": "on", "kernels": "stock",
    }  # fmt: skip
    cell = resolve_cell(axes).cell
    shallow, whole = predict_peak(cell), predict(cell)
    assert shallow.peak_bytes == pytest.approx(whole.peak_bytes, rel=NEAR)
    assert shallow.communication == whole.communication
