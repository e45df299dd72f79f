"""Losses of DPO's kind, KTO, SimPO and ORPO: each derived by hand, in plain floats."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.cells.axes import AXES
from alignmeter.methods.losses.dpo import DPO_LOSSES, dpo_loss
from alignmeter.methods.losses.kto import kto_loss, kto_reference_point
from alignmeter.methods.losses.orpo import log_odds, orpo_loss
from alignmeter.methods.losses.simpo import simpo_loss

F64 = torch.float64


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def numbers(*values, grad=False):
    return torch.tensor(values, dtype=F64, requires_grad=grad)


# Two pairs. h = policy - ref: chosen +1 and -0.5, rejected -1 and +0.3.
POLICY, REF = numbers(-1.0, -6.5, -4.0, -2.7), numbers(-2.0, -6.0, -3.0, -3.0)
LENGTHS = numbers(2.0, 5.0, 4.0, 1.0)
MARGINS = (2.0, -0.8)
BY_HAND = {
    # beta 0.5: margins of 1 and -0.4
    "sigmoid": (-math.log(sigmoid(1.0)) - math.log(sigmoid(-0.4))) / 2,
    # 1 - 1 = 0 and 1 + 0.4
    "hinge": (0.0 + 1.4) / 2,
    # per token: 1/2 + 1/4 and -0.5/5 - 0.3/1, each less 1 / (2 beta) = 1
    "ipo": ((0.75 - 1) ** 2 + (-0.4 - 1) ** 2) / 2,
    "apo-zero": (1 - sigmoid(0.5) + sigmoid(-0.5) + 1 - sigmoid(-0.25) + sigmoid(0.15)) / 2,
}


@pytest.mark.parametrize("kind", DPO_LOSSES)
def test_every_dpo_loss_by_hand(kind):
    loss, accuracy = dpo_loss(POLICY, REF, LENGTHS, beta=0.5, kind=kind)
    assert loss.item() == pytest.approx(BY_HAND[kind], rel=1e-12)
    assert accuracy.item() == 0.5


# d loss / d h_w of one pair at h = 0, beta 0.5 and responses of 4 and 2 tokens; h_l has its own.
SLOPES = {
    "sigmoid": (-0.5 / 2, 0.5 / 2),
    "hinge": (-0.5, 0.5),
    "ipo": (2 * (0 - 1) / 4, -2 * (0 - 1) / 2),
    "apo-zero": (-0.5 / 4, 0.5 / 4),
}


@pytest.mark.parametrize("kind", DPO_LOSSES)
def test_every_dpo_loss_starts_where_it_says_and_goes_the_right_way(kind):
    policy = numbers(-3.0, -3.0, grad=True)
    loss, accuracy = dpo_loss(policy, policy.detach(), numbers(4.0, 2.0), beta=0.5, kind=kind)
    loss.backward()
    assert loss.item() == pytest.approx(DPO_LOSSES[kind].first(0.5), rel=1e-12)
    assert accuracy.item() == 0.0
    assert policy.grad.tolist() == pytest.approx(SLOPES[kind], rel=1e-12)


def test_first_losses_by_hand():
    first = {kind: loss.first(0.1) for kind, loss in DPO_LOSSES.items()}
    assert first == pytest.approx(
        {"sigmoid": math.log(2), "ipo": 1 / 0.04, "apo-zero": 1.0, "hinge": 1.0}, rel=1e-12
    )


def test_a_pair_that_is_far_enough_apart_moves_the_hinge_no_more():
    policy = numbers(3.0, 0.0, grad=True)
    dpo_loss(policy, numbers(0.0, 0.0), numbers(1.0, 1.0), beta=0.5, kind="hinge")[0].backward()
    assert policy.grad.tolist() == [0.0, 0.0]


def test_values_of_the_axes_are_rows_of_the_losses():
    assert AXES["dpo_loss"].choices == tuple(DPO_LOSSES)


# Rows of answers to other prompts, and how far the policy is above the ref_model on average.
APART = {"above": ((-1.0, -2.0), (-1.5, -2.9), 0.7), "below": ((-3.0, -2.0), (-1.0, -2.5), 0.0)}


@pytest.mark.parametrize("case", APART)
def test_the_reference_point_is_a_mean_that_is_never_negative(case):
    policy, ref, expected = APART[case]
    wanted = numbers(*policy, grad=True)
    found = kto_reference_point(wanted, numbers(*ref))
    assert found.item() == pytest.approx(expected, abs=1e-15)
    assert not found.requires_grad


@pytest.mark.parametrize("z0", [0.0, 0.7])
@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.5, 0.25)])
def test_kto_by_hand(z0, desirable, undesirable):
    """h = (1, -0.5, -1, 0.3) against z_0, beta 0.5; the first and the last row are desirable."""
    rows = [(1.0, True), (-0.5, False), (-1.0, False), (0.3, True)]
    expected = sum(
        desirable * (1 - sigmoid(0.5 * (h - z0)))
        if good
        else undesirable * (1 - sigmoid(0.5 * (z0 - h)))
        for h, good in rows
    )
    right = sum((h > z0) if good else (h < z0) for h, good in rows)
    loss, accuracy = kto_loss(
        numbers(*(h - 2 for h, _ in rows)),
        numbers(-2.0, -2.0, -2.0, -2.0),
        torch.tensor([good for _, good in rows]),
        numbers(z0).squeeze(),
        beta=0.5,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
    )
    assert loss.item() == pytest.approx(expected / 4, rel=1e-12)
    assert accuracy.item() == right / 4


def test_kto_starts_at_half_and_pushes_each_row_its_own_way():
    """d / dh of 1 - sigmoid(beta h) at 0 is -beta / 4; mean over two rows. A tie is wrong."""
    policy = numbers(-3.0, -3.0, grad=True)
    loss, accuracy = kto_loss(
        policy, policy.detach(), torch.tensor([True, False]), numbers(0.0).squeeze(), beta=0.4
    )
    loss.backward()
    assert (loss.item(), accuracy.item()) == (0.5, 0.0)
    assert policy.grad.tolist() == pytest.approx([-0.05, 0.05])


# One pair, three tokens: the chosen answer has two of them. Means -1 and -2, whatever is masked.
TOKENS = numbers(-0.5, -1.5, -77.0).unsqueeze(0), numbers(-1.0, -2.0, -3.0).unsqueeze(0)
LOGPROBS, MASK = torch.cat(TOKENS), torch.tensor([[1.0, 1, 0], [1, 1, 1]], dtype=F64)


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.0), (2.0, 1.0), (2.5, 3.0)])
def test_simpo_by_hand(beta, gamma):
    """-log sigmoid(beta (-1 + 2) - gamma)."""
    logprobs = LOGPROBS.clone().requires_grad_()
    loss, accuracy = simpo_loss(logprobs, MASK, beta=beta, gamma=gamma)
    loss.backward()
    assert loss.item() == pytest.approx(math.log1p(math.exp(gamma - beta)), rel=1e-12)
    assert accuracy.item() == 1.0
    slope = beta * (1 - sigmoid(beta - gamma))
    expected = [-slope / 2, -slope / 2, 0, slope / 3, slope / 3, slope / 3]
    assert logprobs.grad.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_simpo_of_a_tie_is_wrong_and_costs_gamma():
    loss, accuracy = simpo_loss(numbers(-1.0, -1.0).unsqueeze(1), torch.ones(2, 1), beta=2, gamma=1)
    assert loss.item() == pytest.approx(math.log1p(math.e), rel=1e-12)
    assert accuracy.item() == 0.0


def true_log_odds(x):
    """In 60 digits."""
    with localcontext() as context:
        context.prec = 60
        p = Decimal(x).exp()
        return float(Decimal(x) - (1 - p).ln())


NEAR_ONE = (-1e-12, -1e-9, -1e-7, -1e-4)
BETWEEN = (-0.5, -0.6931471, -0.6931472, -1.0, -5.0)
NEAR_ZERO = (-20.0, -90.0, -700.0)


@pytest.mark.parametrize("x", [*NEAR_ONE, *BETWEEN, *NEAR_ZERO])
@pytest.mark.parametrize(("dtype", "rel"), [(F64, 1e-14), (torch.float32, 5e-7)])
def test_log_odds_lose_nothing_at_either_end(x, dtype, rel):
    """Its slope is 1 / (1 - p), and finite at both ends."""
    found = torch.tensor(x, dtype=dtype, requires_grad=True)
    value = log_odds(found)
    value.backward()
    exact = found.item()  # rounded to the dtype
    # Where it crosses 0, at p = 1/2, an absolute error is what counts.
    assert value.item() == pytest.approx(true_log_odds(exact), rel=rel, abs=rel)
    assert found.grad.item() == pytest.approx(-1 / math.expm1(exact), rel=4 * rel)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("sides", [(0.0, -1.0), (-1.0, 0.0), (0.0, 0.0), (-1e4, -1.0)])
def test_odds_of_certain_answers_leave_a_finite_loss_and_gradient(sides, dtype):
    """log(p / (1 - p)) at p = 1 is that of the smallest 1 - p there is; at p = 0 it is log p."""
    logprobs = torch.tensor(sides, dtype=dtype).unsqueeze(1).requires_grad_()
    loss, _ = orpo_loss(torch.zeros((), dtype=dtype), logprobs, torch.ones(2, 1), weight=0.1)
    loss.backward()
    largest = -math.log(torch.finfo(dtype).tiny)
    chosen, rejected = (largest if m == 0 else true_log_odds(m) for m in sides)
    expected = 0.1 * (math.log1p(math.exp(-abs(chosen - rejected))) + max(rejected - chosen, 0))
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert torch.isfinite(logprobs.grad).all()


def test_orpo_by_hand():
    """Means -1 and -2: odds e^-1 / (1 - e^-1) = 0.581977 and e^-2 / (1 - e^-2) = 0.156518."""
    odds = [math.exp(m) / (1 - math.exp(m)) for m in (-1, -2)]
    assert odds == pytest.approx([0.581977, 0.156518], rel=1e-5)
    loss, accuracy = orpo_loss(numbers(3.0).squeeze(), LOGPROBS, MASK, weight=0.1)
    expected = 3.0 - 0.1 * math.log(sigmoid(math.log(odds[0] / odds[1])))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert accuracy.item() == 1.0


def test_orpo_makes_the_chosen_answer_likelier_and_the_other_less():
    """d ratio / d m = 1 / (1 - p) of each, and the weight times 1 - sigmoid(ratio) before it."""
    logprobs = LOGPROBS.clone().requires_grad_()
    orpo_loss(numbers(0.0).squeeze(), logprobs, MASK, weight=0.1)[0].backward()
    ratio = true_log_odds(-1) - true_log_odds(-2)
    slope = 0.1 * (1 - sigmoid(ratio))
    chosen, rejected = (slope / (1 - math.exp(m)) for m in (-1, -2))
    expected = [-chosen / 2, -chosen / 2, 0, rejected / 3, rejected / 3, rejected / 3]
    assert logprobs.grad.flatten().tolist() == pytest.approx(expected, rel=1e-12)


PAIRWISE = {
    **{
        kind: lambda rows, kind=kind: dpo_loss(
            rows.sum(1), torch.zeros(len(rows), dtype=F64), torch.ones(len(rows), dtype=F64) * 3,
            beta=0.3, kind=kind,
        )
        for kind in DPO_LOSSES
    },
    "simpo": lambda rows: simpo_loss(rows, torch.ones_like(rows), beta=2.0, gamma=1.0),
    "orpo": lambda rows: orpo_loss(
        numbers(0.0).squeeze(), rows, torch.ones_like(rows), weight=0.1
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRWISE)
@given(seed=st.integers(0, 2**31), pairs=st.integers(1, 4))
def test_a_batch_is_the_mean_of_its_pairs(name, seed, pairs):
    """Row i belongs to row B + i: neither sums nor neighbours."""
    generator = torch.Generator().manual_seed(seed)
    rows = -torch.rand(2 * pairs, 3, generator=generator, dtype=F64) - 0.01
    alone = [PAIRWISE[name](rows[[i, pairs + i]]) for i in range(pairs)]
    loss, accuracy = PAIRWISE[name](rows)
    assert loss.item() == pytest.approx(sum(a.item() for a, _ in alone) / pairs, rel=1e-10)
    assert accuracy.item() == pytest.approx(sum(b.item() for _, b in alone) / pairs)
