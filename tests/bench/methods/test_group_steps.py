"""GRPO and RLOO: groups, rewards that rise, and what a cell of theirs holds."""

import pytest
import torch

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.grpo import GrpoSettings, GrpoStep
from alignmeter.methods.losses.grpo import GRPO_VARIANTS
from alignmeter.methods.rloo import RlooSettings, RlooStep
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.rewards import open_reward
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
SHORT = {"reward": "token-share", "seq_len": 6, "prompt_len": 4, "batch": 32, "group": 8}
"""Two tokens an answer: how much of the reward is a token's own does not drown in the others'."""


def scores(step_class, settings, cell, steps):
    """Mean reward of each step, new answers to the same prompts."""
    step = step_class(open_setup(cell, CPU, seed=0), settings)
    source = open_batches(cell, vocab_size=512, seed=0)
    batch = source.take(0, CPU, "groups")
    return [step.run(batch, SilentProbe()).metrics["score"].item() for _ in range(steps)]


def assert_risen(found, by):
    """Half of the ids are even: that is where it starts, and the last five steps are above it.

    Their 640 tokens have a standard deviation of 0.02 by chance, the first step's 128 one of 0.044.
    """
    assert found[0] == pytest.approx(0.5, abs=0.15)
    assert sum(found[-5:]) / 5 > max(0.5, found[0]) + by


FULL = pytest.mark.exhaustive


@pytest.mark.full
@pytest.mark.parametrize(
    ("architecture", "variant"),
    [
        ("llama", "grpo"),
        ("llama", "dr-grpo"),
        *(pytest.param("llama", v, marks=FULL) for v in ("dapo", "gspo", "cispo")),
        *(pytest.param("mamba", v, marks=FULL) for v in GRPO_VARIANTS),
    ],
)
def test_grpo_raises_the_reward(architecture, variant, make_cell):
    cell = make_cell(method="grpo", grpo_variant=variant, architecture=architecture, **SHORT)
    assert_risen(scores(GrpoStep, GrpoSettings(learning_rate=3e-3), cell, 25), 0.25)


@pytest.mark.full
@pytest.mark.parametrize(
    ("architecture", "by"), [("llama", 0.04), pytest.param("mamba", 0.25, marks=FULL)]
)
@pytest.mark.parametrize("method", ["grpo", pytest.param("rloo", marks=FULL)])
def test_adapters_raise_the_reward_as_far_as_a_frozen_head_lets_them(
    method, architecture, by, make_cell
):
    """Llama's head is drawn with a deviation of 0.02. A hidden state of norm sqrt(192) = 13.9 along
    the difference of the mean rows of even and odd ids, whose norm is 0.02 sqrt(192 x 2 / 256)
    = 0.0245, raises the even logits by 0.34: a share of 0.584 is the most that it can have.
    """
    cell = make_cell(method=method, peft="lora", architecture=architecture, **SHORT)
    kinds = {"grpo": (GrpoStep, GrpoSettings), "rloo": (RlooStep, RlooSettings)}
    step, settings = kinds[method]
    assert_risen(scores(step, settings(learning_rate=1e-2), cell, 25), by)


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["llama", pytest.param("mamba", marks=FULL)])
def test_rloo_raises_the_reward(architecture, make_cell):
    cell = make_cell(method="rloo", architecture=architecture, **SHORT)
    assert_risen(scores(RlooStep, RlooSettings(learning_rate=3e-3), cell, 25), 0.25)


@pytest.mark.parametrize("variant", [v for v in GRPO_VARIANTS if v not in ("grpo", "dr-grpo")])
def test_on_its_own_samples_of_one_length_most_variants_are_grpo(variant, make_cell):
    """No ratio is away from 1 and no token is masked: the same gradients, so the same answers."""

    def answers(name):
        cell = make_cell(method="grpo", grpo_variant=name, **SHORT)
        return scores(GrpoStep, GrpoSettings(learning_rate=1e-3), cell, 3)

    assert answers(variant) == answers("grpo")


@pytest.mark.parametrize("group", [2, 4, 8])
def test_rows_of_a_group_are_neighbours_with_one_prompt(group, make_cell):
    cell = make_cell(method="grpo", batch=4, group=group)
    source = open_batches(cell, vocab_size=512, seed=0)
    first, second = (source.take(i, CPU, "groups") for i in range(2))
    assert first.ids.shape == (8, 16)
    assert len(first.pairs) == 8 // group
    assert not set(first.pairs) & set(second.pairs)
    for row in range(8):
        same = torch.equal(first.prompts[row], first.prompts[row - row % group])
        assert same
        if row and row % group == 0:
            assert not torch.equal(first.prompts[row], first.prompts[row - 1])
    chosen = source.take(0, CPU, "chosen")
    assert torch.equal(first.ids[::group], chosen.ids[: 8 // group])


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_group_that_does_not_divide_the_rows_is_impossible(method):
    axes = {"accelerator": "cpu", "data": "synthetic", "method": method, "batch": 4, "group": 3}
    reason = resolve_cell(axes).unsupported
    assert reason.code == "impossible"
    assert reason.text == "8 sequences a step are no whole number of groups of 3"
    assert resolve_cell({**axes, "group": 4}).unsupported is None


@pytest.mark.parametrize("peft", ["full", "lora"])
def test_without_a_kl_term_there_is_no_ref_model(peft, make_cell):
    def models(**axes):
        cell = make_cell(method="grpo", peft=peft, **axes)
        return set(open_method("grpo").build(open_setup(cell, CPU, seed=0)).models())

    ref = {"ref"} if peft == "full" else set()
    assert models() == {"policy", "reward"}
    assert models(reward="length") == {"policy"}
    assert models(kl="k3") == {"policy", "reward"} | ref
    assert models(kl="k3", ref="resident") == {"policy", "reward", "ref"}


@pytest.mark.full
def test_a_kl_term_holds_the_policy_back(make_cell):
    """Under a heavy one the reward rises less than half as far."""

    def risen(**settings):
        cell = make_cell(method="grpo", kl="k3", **SHORT)
        found = scores(GrpoStep, GrpoSettings(learning_rate=3e-3, **settings), cell, 18)
        return sum(found[-3:]) / 3 - sum(found[:3]) / 3

    assert risen(kl_coef=3.0) < 0.5 * risen(kl_coef=0.0)


@pytest.fixture
def batch(make_cell):
    """Two groups of two: prompts of 4 tokens, answers of 4, of which the last two have 3 and 1."""
    source = open_batches(make_cell(method="grpo", seq_len=8, prompt_len=4), vocab_size=512, seed=0)
    found = source.take(0, CPU, "groups")
    found.response_mask[2, 3:] = 0
    found.response_mask[3, 1:] = 0
    return found


def judged(name, ids, batch, make_cell):
    cell = make_cell(method="grpo", seq_len=8, prompt_len=4, reward=name)
    return open_reward(open_setup(cell, CPU, seed=0)).of(ids, batch).tolist()


def test_rewards_of_tokens_by_hand(batch, make_cell):
    """Even ids of each answer; tokens before the first end; equal as far as the real tokens go."""
    ids, eos = batch.ids.clone(), batch.eos
    ids[:, 4:] = torch.tensor([[10, 11, 13, 15], [2, 4, 6, 8], [9, 9, 9, 10], [4, 4, 3, 3]])
    assert judged("token-share", ids, batch, make_cell) == [0.25, 1.0, 0.25, 0.5]
    ids[:, 4:] = 99
    ids[0, 7] = ids[1, 4] = ids[1, 6] = ids[2, 5] = eos
    assert judged("length", ids, batch, make_cell) == [0.75, 0.0, 0.25, 1.0]
    ids = batch.ids.clone()
    ids[1, 7] += 1  # real
    ids[2, 7] += 1  # padding
    ids[3, 4] += 1
    assert judged("exact-match", ids, batch, make_cell) == [1.0, 0.0, 1.0, 0.0]


def test_a_reward_model_judges_the_last_token(batch, make_cell):
    cell = make_cell(method="grpo", seq_len=8, prompt_len=4)
    reward = open_reward(open_setup(cell, CPU, seed=0))
    with torch.no_grad():
        expected = reward.models()["reward"](batch.ids)[:, -1]
    assert torch.equal(reward.of(batch.ids, batch), expected)
