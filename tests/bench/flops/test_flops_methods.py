"""FLOPs of KTO, SimPO, ORPO, GRPO, RLOO and distillation, by hand."""

import pytest
from wide_teachers import save_wide

from alignmeter.registry import VARIANTS
from alignmeter.session.findings.step_flops import step_flops

LAYERS = 3 * (4 * 1_179_648 + 3 * 1_966_080 + 2 * 49_152)
"""llama's blocks over 2 rows of 8 tokens, 4 heads: derived in test_flops."""
HEAD = 2 * 2 * 192 * 512
"""The LM head on one token of each of 2 rows."""
SCALAR = 2 * 16 * 192
"""A scalar head on 2 rows of 8 tokens."""
TWO_ROWS = {"batch": 1, "seq_len": 8}


@pytest.mark.parametrize(
    ("axes", "logits", "frozen"),
    [
        ({"method": "simpo"}, 4, {}),
        ({"method": "orpo"}, 7, {}),  # every token but the last predicts one
        ({"method": "grpo"}, 4, {"rollout": 0, "reward": LAYERS + SCALAR}),
        ({"method": "grpo", "reward": "length"}, 4, {"rollout": 0}),
        (
            {"method": "grpo", "kl": "k3", "reward": "exact-match"},
            4,
            {"rollout": 0, "ref_forward": LAYERS + 4 * HEAD},
        ),
        (
            {"method": "rloo"},
            4,
            {"rollout": 0, "reward": LAYERS + SCALAR, "scoring": 2 * (LAYERS + 4 * HEAD)},
        ),
        (
            {"method": "distill"},
            4,
            # The teacher's head works beside the student's.
            {"rollout": 0, "teacher_forward": LAYERS, "forward": 4 * HEAD},
        ),
    ],
)
def test_methods_on_one_pair_by_hand(axes, logits, frozen, make_cell):
    """2 rows of 8 tokens, 4 of them answers; a rollout is that of PPO, derived in test_flops."""
    found = step_flops(make_cell(**TWO_ROWS, **axes))
    if "rollout" in frozen:
        ppo = step_flops(make_cell(method="ppo", **TWO_ROWS))
        frozen = {**frozen, "rollout": ppo.frozen["rollout"]}
    assert found.frozen == frozen
    assert found.trained == LAYERS + logits * HEAD
    assert found.backward == 2 * found.trained
    assert found.phases["forward"] == found.trained + frozen.get("forward", 0)
    assert found.total == sum(frozen.values()) + 3 * found.trained


def test_a_larger_teacher_by_hand(make_cell, tmp_path):
    """The student's passes are its own. The teacher has twice the width D and MLP width F, the same
    3 blocks and 512 ids: its products 2 x (4 D D + 3 D F) a token and block grow fourfold, its
    attention 4 x D a pair of tokens and its head twofold.
    """
    cell = make_cell(method="distill", **TWO_ROWS)
    wide = make_cell(
        method="distill", teacher=str(save_wide(tmp_path / "wide", "llama")), **TWO_ROWS
    )
    alone, found = step_flops(cell), step_flops(wide)
    products = 3 * (4 * 1_179_648 + 3 * 1_966_080)
    attention = LAYERS - products
    assert found.frozen == {
        "rollout": alone.frozen["rollout"],
        "teacher_forward": 4 * products + 2 * attention,
        "forward": 2 * 4 * HEAD,
    }
    assert (found.trained, found.backward) == (alone.trained, alone.backward)


def test_kto_by_hand(make_cell):
    """Twice the rows of the ref_model, and the policy once more on the mismatched ones."""
    found = step_flops(make_cell(method="kto", batch=2, seq_len=8))
    once = 2 * (LAYERS + 4 * HEAD)  # 4 rows
    assert found.frozen == {"ref_forward": 2 * once, "kl_forward": once}
    assert (found.trained, found.backward) == (once, 2 * once)


def test_variants_of_a_loss_cost_the_same(make_cell):
    def of(**axes):
        return step_flops(make_cell(**axes))

    assert len({of(method="dpo", dpo_loss=kind).total for kind in VARIANTS["dpo_loss"]}) == 1
    kinds = VARIANTS["grpo_variant"]
    assert len({of(method="grpo", grpo_variant=kind).total for kind in kinds}) == 1
    assert of(method="grpo", group=4) == of(method="grpo")
