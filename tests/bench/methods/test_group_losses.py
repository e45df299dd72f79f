"""Advantages of groups, GRPO in every variant and RLOO: derived by hand, clips that bite."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.cells.axes import AXES
from alignmeter.methods.losses.group import SCALES, group_advantages, leave_one_out
from alignmeter.methods.losses.grpo import GRPO_VARIANTS, GrpoVariant, grpo_loss, k3
from alignmeter.methods.losses.rloo import rloo_loss

F64 = torch.float64


def table(*rows, grad=False):
    return torch.tensor(rows, dtype=F64, requires_grad=grad)


def test_group_advantages_by_hand():
    """Rewards (1, 3) and (5, 5): means 2 and 5; the unbiased deviation of the first is sqrt 2."""
    rewards = torch.tensor([1.0, 3.0, 5.0, 5.0], dtype=F64)
    assert group_advantages(rewards, 2, scale="none").tolist() == [-1, 1, 0, 0]
    unit = 1 / (math.sqrt(2) + 1e-4)
    found = group_advantages(rewards, 2, scale="group").tolist()
    assert found == pytest.approx([-unit, unit, 0, 0], rel=1e-12)
    assert group_advantages(rewards, 2).tolist() == found


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("reward", [0.0, 0.1, -1e4])
def test_equal_rewards_teach_nothing(scale, reward):
    """0.1 is no binary fraction: three of them have another mean by a last digit."""
    for group in (2, 3, 6):
        rewards = torch.full((6,), reward)
        assert group_advantages(rewards, group, scale=scale).abs().max().item() < 1e-3 * (
            abs(reward) > 1 or 1e-1
        )
        assert leave_one_out(rewards, group).abs().max().item() <= 1e-7 * max(1, abs(reward)) * 6


@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 3))
def test_advantages_are_those_of_each_group_by_itself(seed, group, groups):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(groups * group, generator=generator, dtype=F64)
    scaled, one_out = [], []
    for first in range(0, groups * group, group):
        own = rewards[first : first + group].tolist()
        mean, std = statistics.fmean(own), statistics.stdev(own)
        scaled += [(r - mean) / (std + 1e-4) for r in own]
        one_out += [group / (group - 1) * (r - mean) for r in own]
    assert group_advantages(rewards, group).tolist() == pytest.approx(scaled, rel=1e-9, abs=1e-12)
    assert leave_one_out(rewards, group).tolist() == pytest.approx(one_out, rel=1e-9, abs=1e-12)


def test_leave_one_out_by_hand():
    """Of (1, 2, 6): 1 - 4, 2 - 3.5, 6 - 1.5."""
    assert leave_one_out(torch.tensor([1.0, 2, 6]), 3).tolist() == [-3, -1.5, 4.5]


def test_values_of_the_axis_are_rows_of_the_variants():
    assert AXES["grpo_variant"].choices == tuple(GRPO_VARIANTS)


def test_only_dr_grpo_leaves_the_deviation_out():
    assert [name for name, row in GRPO_VARIANTS.items() if row.scale == "none"] == ["dr-grpo"]


# Two rollouts of three tokens, the second one cut to a single token. On the policy that sampled,
# the loss of a real token is -A, and CISPO's -A log p.
ADVANTAGES, MASK = torch.tensor([2.0, -1.0], dtype=F64), table([1, 1, 1], [1, 0, 0])
LOGPROBS = table([-0.5, -1.0, -1.5], [-2.0, -9.0, -9.0])
ON_POLICY = {
    "grpo": (-2.0 + 1.0) / 2,  # each sequence's mean
    "dapo": (-2.0 * 3 + 1.0) / 4,  # over four tokens
    "dr-grpo": (-2.0 * 3 + 1.0) / 6,  # over six places
    "gspo": (-2.0 + 1.0) / 2,
    "cispo": (-2.0 * -3.0 + 1.0 * -2.0) / 4,
}
SHARES = {  # of A in the gradient of each token
    "grpo": ([1 / 6] * 3, [1 / 2, 0, 0]),
    "dapo": ([1 / 4] * 3, [1 / 4, 0, 0]),
    "dr-grpo": ([1 / 6] * 3, [1 / 6, 0, 0]),
    "gspo": ([1 / 6] * 3, [1 / 2, 0, 0]),
    "cispo": ([1 / 4] * 3, [1 / 4, 0, 0]),
}


@pytest.mark.parametrize("name", GRPO_VARIANTS)
def test_each_variant_averages_in_its_own_way(name):
    """On the policy itself the gradient is that of -A log p, with that mean."""
    logprobs = LOGPROBS.clone().requires_grad_()
    variant = GRPO_VARIANTS[name]
    loss = grpo_loss(logprobs, LOGPROBS, ADVANTAGES, MASK, variant=variant)
    loss.backward()
    assert loss.item() == pytest.approx(ON_POLICY[name], rel=1e-12)
    expected = table(*SHARES[name]) * -ADVANTAGES.unsqueeze(1)
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-12, atol=0)


def of_ratio(variant, ratio, advantage):
    """(loss, its slope) of one token whose ratio to the old policy is that, at log-prob -1."""
    logprobs = table([-1.0], grad=True)
    old, mask = table([-1.0 - math.log(ratio)]), table([1.0])
    loss = grpo_loss(logprobs, old, torch.tensor([advantage], dtype=F64), mask, variant=variant)
    loss.backward()
    return loss.item(), logprobs.grad.item()


CLIPPED = {name: v for name, v in GRPO_VARIANTS.items() if v.cap is None}
BOUNDS = {
    "grpo": (0.8, 1.2),
    "dapo": (0.8, 1.28),
    "dr-grpo": (0.8, 1.2),
    "gspo": (1 - 3e-4, 1 + 4e-4),
}


@pytest.mark.parametrize("name", CLIPPED)
def test_clips_bite_on_the_side_where_an_answer_gained_enough(name):
    """Above: where it is good. Below: where it is bad. A clipped token has no gradient."""
    low, high = BOUNDS[name]
    for ratio in (low - 1e-4, high + 1e-4):
        for advantage in (2.0, -2.0):
            clipped = (ratio > 1) == (advantage > 0)
            bound = high if ratio > 1 else low
            expected = (-bound * advantage, 0.0) if clipped else (-ratio * advantage,) * 2
            assert of_ratio(CLIPPED[name], ratio, advantage) == pytest.approx(expected, rel=1e-9)
    for ratio in (low + 1e-5, high - 1e-5):
        for advantage in (2.0, -2.0):
            expected = (-ratio * advantage,) * 2
            assert of_ratio(CLIPPED[name], ratio, advantage) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("ratio", [0.01, 1.0, 4.9, 5.1, 50.0])
def test_cispo_bounds_the_ratio_as_a_weight_and_drops_no_token(ratio, advantage):
    """The loss is -w A log p with w = min(ratio, 5), a constant: at log p = -1 its slope is -w A,
    where a ratio with a gradient would add -w A log p.
    """
    weight = min(ratio, 5.0)
    found = of_ratio(GRPO_VARIANTS["cispo"], ratio, advantage)
    assert found == pytest.approx((weight * advantage, -weight * advantage), rel=1e-9)


def test_gspo_has_one_ratio_for_a_sequence():
    """Tokens moved by (+0.0006, -0.0003, 9) and the last one is masked: their mean is 0.00015.

    Each of the two tokens gets half of the sequence's gradient, though the first alone is beyond
    the clip at 1.0004; grpo's would differ between them.
    """
    moved, mask = table([6e-4, -3e-4, 9.0]), table([1, 1, 0])
    logprobs = table([-1.0, -2, -3]).requires_grad_()
    old = logprobs.detach() - moved
    advantage = torch.tensor([2.0], dtype=F64)
    loss = grpo_loss(logprobs, old, advantage, mask, variant=GRPO_VARIANTS["gspo"])
    loss.backward()
    ratio = math.exp(1.5e-4)
    assert loss.item() == pytest.approx(-2 * ratio, rel=1e-12)
    assert logprobs.grad.tolist()[0] == pytest.approx([-ratio, -ratio, 0], rel=1e-9)


@given(st.floats(-20, 20))
def test_k3_is_never_negative_and_its_slope_is_one_less_the_ratio(apart):
    """d/dp of exp(d) - d - 1 with d = ref - p is 1 - exp(d)."""
    logprobs = table([-1.0], grad=True)
    found = k3(logprobs, table([-1.0 + apart]))
    found.sum().backward()
    exact = -1.0 + apart - -1.0
    assert found.item() >= 0
    assert found.item() == pytest.approx(math.expm1(exact) - exact, rel=1e-9, abs=1e-12)
    assert logprobs.grad.item() == pytest.approx(-math.expm1(exact), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", GRPO_VARIANTS)
def test_the_kl_term_by_hand(name):
    """d = 0.5 at each real token: e^0.5 - 1.5 = 0.148721, in the variant's own mean.

    The ratio before it is 1, but not its gradient: d/dp (r k3) = k3 + 1 - e^d.
    """
    real = {"grpo": 1, "dapo": 1, "dr-grpo": 4 / 6, "gspo": 1, "cispo": 1}[name]
    value, slope = math.exp(0.5) - 1.5, math.exp(0.5) - 1.5 + 1 - math.exp(0.5)
    assert (value, slope) == pytest.approx((0.148721, -0.5), abs=1e-6)
    logprobs = LOGPROBS.clone().requires_grad_()
    loss = grpo_loss(
        logprobs, LOGPROBS, torch.zeros(2, dtype=F64), MASK, variant=GRPO_VARIANTS[name],
        ref_logprobs=LOGPROBS + 0.5, kl_coef=0.04,
    )  # fmt: skip
    loss.backward()
    assert loss.item() == pytest.approx(0.04 * value * real, rel=1e-12)
    # GSPO's ratio spreads a sequence's gradient evenly, as its values are equal here.
    expected = table(*SHARES[name]) * 0.04 * slope
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-12, atol=1e-17)


def test_the_kl_term_is_weighted_by_the_ratio():
    """ratio e^0.1, d = -0.2: 0.04 e^0.1 (e^-0.2 + 0.2 - 1), no advantage."""
    variant = GrpoVariant(mean="token", source="")
    loss = grpo_loss(
        table([-1.0]), table([-1.1]), torch.zeros(1, dtype=F64), table([1.0]), variant=variant,
        ref_logprobs=table([-1.2]), kl_coef=0.04,
    )  # fmt: skip
    expected = 0.04 * math.exp(0.1) * (math.exp(-0.2) + 0.2 - 1)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("moved", "advantage", "expected", "bites"),
    [
        ((0.0, 0.0), 2.0, -2.0, False),
        ((0.3, -0.2), 2.0, -2.0 * math.exp(0.1), False),  # the sum of the tokens', within 1.2
        ((0.2, 0.2), 2.0, -2.4, True),  # each within it, their product not
        ((-0.2, -0.2), 2.0, -2.0 * math.exp(-0.4), False),
        ((0.2, 0.2), -2.0, 2.0 * math.exp(0.4), False),
        ((-0.2, -0.2), -2.0, 1.6, True),
    ],
)
def test_rloo_by_hand(moved, advantage, expected, bites):
    """A third token is masked. The slope of -r A in each token's log-prob is -r A."""
    logprobs = table([-1.0, -2.0, -3.0], grad=True)
    old = logprobs.detach() - table([*moved, 9.0])
    advantages = torch.tensor([advantage], dtype=F64)
    loss = rloo_loss(logprobs, old, advantages, table([1, 1, 0]), clip=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    slope = 0 if bites else expected
    assert logprobs.grad.tolist()[0] == pytest.approx([slope, slope, 0], rel=1e-12)


def test_on_its_own_samples_rloo_is_reinforce():
    """The gradient of the mean over rollouts of -A log pi(answer)."""
    logprobs, plain = LOGPROBS.clone().requires_grad_(), LOGPROBS.clone().requires_grad_()
    rloo_loss(logprobs, LOGPROBS, ADVANTAGES, MASK, clip=0.2).backward()
    (-ADVANTAGES * (plain * MASK).sum(1)).mean().backward()
    torch.testing.assert_close(logprobs.grad, plain.grad, rtol=1e-12, atol=0)
