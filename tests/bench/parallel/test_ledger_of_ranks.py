"""Whose bytes are at a rank's peak: its share, what it gathers, and what it exchanges."""

import pytest
from rank_pair import SIZE, ledger

RESIDENT = ("policy_weights", "ref_weights", "reward_weights", "value_weights", "adapters",
            "optimizer_state")  # fmt: skip


def resident(rows):
    return sum(rows[f"{owner}_bytes"] for owner in RESIDENT)


SHARES = {"fsdp2": 0.51, "ddp": 1.0}
"""The most that a rank has of what one process holds between steps."""


def check_ledger(pair, axes, ways=("fsdp2", "ddp")):
    """The rows of every rank, once they hold."""
    found = []
    axes = {"seq_len": 64, **axes}
    _, alone = ledger({**axes, "world_size": 1})
    for parallel in ways:
        share = SHARES[parallel]
        for peak, rows in pair.call(ledger, {**axes, "world_size": SIZE, "parallel": parallel}):
            assert sum(rows.values()) == peak
            assert rows["unattributed_bytes"] <= 0.01 * peak
            assert (share - 0.02) * resident(alone) < resident(rows) <= share * resident(alone)
            assert 0 < rows["gathered_weights_bytes"] < alone["policy_weights_bytes"]
            assert rows["gradients_bytes"] > 0
            found.append(rows)
    return found


@pytest.mark.full
def test_a_rank_has_half_of_what_stays_and_names_the_rest(pair):
    found = check_ledger(pair, {"method": "dpo", "peft": "full"}, ways=["fsdp2"])
    # Its peak lies between two blocks: a bucket of gradients, and weights on their way.
    assert all(rows["communication_bytes"] > 0 for rows in found)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "axes",
    [
        {"method": "dpo", "peft": "full"},
        {"method": "ppo", "peft": "full"},
        {"method": "ppo", "peft": "lora", "ppo_topology": "shared", "ppo_backward": "joint"},
        {"method": "grpo", "peft": "full", "rollout_weights": "gathered"},
        {"method": "dpo", "peft": "full", "precision": "bf16-mixed"},
        {"method": "dpo", "peft": "full", "architecture": "mamba2", "kernels": "custom"},
        {"method": "orpo", "peft": "full", "microbatches": 2, "batch": 4},
    ],
    ids=lambda axes: "-".join(map(str, axes.values())),
)
def test_every_kind_of_step_does(pair, axes):
    check_ledger(pair, axes)


@pytest.mark.exhaustive
def test_a_quantised_rank_has_half_outside_of_its_scales(pair):
    axes = {"method": "dpo", "peft": "qlora", "kernels": "custom", "seq_len": 64}
    _, alone = ledger({**axes, "world_size": 1})
    for peak, rows in pair.call(ledger, {**axes, "world_size": SIZE, "parallel": "fsdp2"}):
        assert resident(rows) <= 0.51 * resident(alone)
        assert rows["quantisation_state_bytes"] == alone["quantisation_state_bytes"] > 0
        assert rows["unattributed_bytes"] <= 0.01 * peak
