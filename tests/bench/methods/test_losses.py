"""Each loss derived by hand from a few numbers, and against an independent form in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.methods.losses import (
    dpo_loss,
    gae,
    kl_rewards,
    ppo_policy_loss,
    ppo_value_loss,
    whiten,
)


def test_dpo_loss_by_hand():
    """One pair: policy (-1, -4), ref (-2, -3).

    The policy moved by +1 on the chosen and -1 on the rejected answer, a margin of 2; with
    beta = 0.5 the loss is -log sigmoid(1) = log(1 + e^-1) = 0.313262, and the pair is right.
    """
    loss, accuracy = dpo_loss(
        torch.tensor([-1.0, -4.0]), torch.tensor([-2.0, -3.0]), torch.ones(2), beta=0.5
    )
    assert loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert accuracy.item() == 1.0


def test_dpo_loss_starts_at_ln_2():
    logprobs = torch.tensor([-3.0, -5.0, -7.0, -9.0])
    loss, accuracy = dpo_loss(logprobs, logprobs, torch.ones(4), beta=0.1)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-7)
    assert accuracy.item() == 0.0


def test_dpo_gradient_by_hand():
    """d loss / d chosen = -beta sigmoid(-margin) / B = -0.1 * 0.5 / 1 at margin 0."""
    policy = torch.tensor([-1.0, -1.0], requires_grad=True)
    dpo_loss(policy, torch.tensor([-1.0, -1.0]), torch.ones(2), beta=0.1)[0].backward()
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-0.05, 0.05])


@given(st.integers(0, 2**31), st.integers(1, 5), st.floats(0.01, 2.0))
def test_dpo_loss_against_the_papers_ratio_form(seed, pairs, beta):
    """-log of pi_w^b / (pi_w^b + pi_l^b) with pi the probability ratios, in float64."""
    generator = torch.Generator().manual_seed(seed)
    policy, ref = (
        torch.randn(2 * pairs, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    ratio = (policy - ref).exp() ** beta
    chosen, rejected = ratio.chunk(2)
    expected = -(chosen / (chosen + rejected)).log().mean()
    lengths = torch.full((2 * pairs,), 3.0)  # a loss of sums takes no notice of them
    wide, _ = dpo_loss(policy, ref, lengths, beta=beta)
    assert wide.item() == pytest.approx(expected.item(), rel=1e-12)
    narrow, _ = dpo_loss(policy.float(), ref.float(), lengths, beta=beta)
    assert narrow.item() == pytest.approx(expected.item(), rel=1e-5)


def test_kl_rewards_by_hand():
    """log-ratios (1, -2) with coefficient 0.1 and score 5: rewards (-0.1, 0.2 + 5)."""
    rewards = kl_rewards(
        torch.tensor([[0.0, -3.0]]), torch.tensor([[-1.0, -1.0]]), torch.tensor([5.0]), kl_coef=0.1
    )
    assert rewards.tolist()[0] == pytest.approx([-0.1, 5.2])


def test_gae_by_hand():
    """r = (1, 2), V = (0.5, 1), gamma 1, lambda 0.5.

    delta_2 = 2 + 0 - 1 = 1, delta_1 = 1 + 1 - 0.5 = 1.5; A_2 = 1, A_1 = 1.5 + 0.5 * 1 = 2.
    Returns A + V = (2.5, 2).
    """
    advantages, returns = gae(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.0]]), gamma=1.0, lam=0.5
    )
    assert advantages.tolist() == [[2.0, 1.0]]
    assert returns.tolist() == [[2.5, 2.0]]


@given(st.integers(0, 2**31), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))
def test_gae_against_the_double_sum(seed, tokens, gamma, lam):
    """A_t = sum_l (gamma lambda)^l delta_{t+l}, equation 16 of the paper, in float64."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (
        torch.randn(3, tokens, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    nxt = torch.cat([values[:, 1:], torch.zeros(3, 1, dtype=torch.float64)], 1)
    delta = rewards + gamma * nxt - values
    expected = torch.stack(
        [
            sum((gamma * lam) ** i * delta[:, t + i] for i in range(tokens - t))
            for t in range(tokens)
        ],
        dim=1,
    )
    advantages, returns = gae(rewards, values, gamma=gamma, lam=lam)
    torch.testing.assert_close(advantages, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(returns, expected + values, rtol=1e-10, atol=1e-12)


def test_whiten_has_mean_0_and_variance_1():
    out = whiten(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert out.mean().item() == pytest.approx(0, abs=1e-6)
    assert out.var().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "expected"),
    [
        (0.0, 2.0, -2.0),  # nothing moved: -A
        (math.log(1.5), 2.0, -2.4),  # a gain is clipped at 1.2 A
        (math.log(0.5), 2.0, -1.0),  # a loss of a good action is not clipped
        (math.log(1.5), -2.0, 3.0),  # a gain of a bad action is not clipped
        (math.log(0.5), -2.0, 1.6),  # its loss is clipped at 0.8
    ],
)
def test_ppo_policy_loss_by_hand(log_ratio, advantage, expected):
    """max(-A r, -A clamp(r, 0.8, 1.2)) for each side of the clip."""
    loss = ppo_policy_loss(
        torch.tensor([[log_ratio]]), torch.zeros(1, 1), torch.tensor([[advantage]]), clip=0.2
    )
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.1, 0.5 * 0.9**2),  # inside the clip: squared error
        (1.9, 0.5 * 0.8**2),  # outside: the clipped value 1.2 is the farther one
        (3.0, 0.5 * 1.0**2),  # beyond the return: the unclipped error is the larger one
    ],
)
def test_ppo_value_loss_by_hand(value, expected):
    """Old value 1, return 2, clip 0.2: max((v - 2)^2, (clamp(v, 0.8, 1.2) - 2)^2) / 2."""
    loss = ppo_value_loss(
        torch.tensor([[value]]), torch.ones(1, 1), torch.full((1, 1), 2.0), clip=0.2
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_ppo_losses_in_float64_agree_with_float32():
    generator = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(4, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    for loss in (ppo_policy_loss, ppo_value_loss):
        wide, narrow = loss(a, b, c, clip=0.2), loss(a.float(), b.float(), c.float(), clip=0.2)
        assert narrow.item() == pytest.approx(wide.item(), rel=1e-5)


def test_ppo_policy_gradient_at_ratio_1_is_the_policy_gradient():
    logprobs = torch.zeros(1, 2, requires_grad=True)
    advantages = torch.tensor([[3.0, -1.0]])
    ppo_policy_loss(logprobs, torch.zeros(1, 2), advantages, clip=0.2).backward()
    torch.testing.assert_close(logprobs.grad, -advantages / 2)


def test_logsigmoid_is_stable_where_the_margin_is_large():
    loss, _ = dpo_loss(torch.tensor([0.0, 1e4]), torch.zeros(2), torch.ones(2), beta=1.0)
    assert loss.item() == pytest.approx(-F.logsigmoid(torch.tensor(-1e4)).item())
