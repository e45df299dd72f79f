"""Distillation's divergence: against explicit sums, and in parts as in one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alignmeter.methods.losses import distill
from alignmeter.methods.losses.distill import divergence, divergence_of_states

# p of two tokens over three words; logits are log p and a constant, which must not count.
STUDENT, TEACHER = ((0.5, 0.3, 0.2), (0.1, 0.1, 0.8)), ((0.25, 0.25, 0.5), (0.7, 0.2, 0.1))


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def by_hand(student, teacher, beta):
    if beta in (0.0, 1.0):
        return kl(teacher, student) if beta == 0.0 else kl(student, teacher)
    mixed = [beta * t + (1 - beta) * s for s, t in zip(student, teacher, strict=True)]
    return beta * kl(teacher, mixed) + (1 - beta) * kl(student, mixed)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_divergence_by_hand(beta):
    student, teacher = torch.tensor(STUDENT).log() + 3, torch.tensor(TEACHER).log() - 7
    expected = [by_hand(s, t, beta) for s, t in zip(STUDENT, TEACHER, strict=True)]
    assert divergence(student, teacher, beta=beta).tolist() == pytest.approx(expected, rel=2e-6)


def test_the_ends_are_told_apart():
    """Teacher even, student (3/4, 1/4): forward 0.5 ln(4/3) = 0.143841, reverse 0.130812."""
    student, teacher = torch.tensor([0.75, 0.25]).log(), torch.zeros(2)
    assert divergence(student, teacher, beta=0.0).item() == pytest.approx(0.143841, abs=1e-6)
    assert divergence(student, teacher, beta=1.0).item() == pytest.approx(0.130812, abs=1e-6)


def test_the_gradient_of_the_reverse_divergence_by_hand():
    """d KL(s || t) / d logit = s (log s/t - KL): (3/16) ln 3 = 0.205990 here, and its opposite."""
    student = torch.tensor([0.75, 0.25]).log().requires_grad_()
    divergence(student, torch.zeros(2), beta=1.0).backward()
    assert student.grad.tolist() == pytest.approx([0.205990, -0.205990], abs=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_student_like_its_teacher_has_nothing_to_learn(beta):
    logits = torch.tensor([[2.0, -60.0, 0.5], [0.0, 0.0, 90.0]]).requires_grad_()
    found = divergence(logits, logits.detach(), beta=beta)
    found.sum().backward()
    assert found.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert logits.grad.abs().max().item() < 1e-6


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31), rows=st.integers(1, 9), part=st.integers(1, 10),
    beta=st.sampled_from([0.0, 0.3, 1.0]),
)  # fmt: skip
def test_in_parts_as_in_one(seed, rows, part, beta):
    """Values and gradients of states and of the student's head, whatever the size of a part; none
    reaches the teacher. fp32, and another order of sums: some last digits.
    """
    torch.manual_seed(seed)
    heads = nn.Linear(4, 11, bias=False), nn.Linear(6, 11, bias=False)
    teacher, weights = torch.randn(rows, 6), torch.randn(rows)
    start = torch.randn(rows, 4)

    def found(of):
        states = start.clone().requires_grad_()
        values = of(states)
        (values * weights).sum().backward()
        grads = states.grad, heads[0].weight.grad
        assert heads[1].weight.grad is None
        heads[0].weight.grad = None
        return values.detach(), *grads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "_PART_BYTES", 4 * 11 * part)
        parts = found(lambda s: divergence_of_states(s, teacher, heads, beta=beta, vocab=11))
    with torch.no_grad():
        wanted = heads[1](teacher)
    whole = found(lambda s: divergence(heads[0](s), wanted, beta=beta))
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("limit", "expected"), [(4 * 11 * 3, [3, 3, 1]), (1, [1] * 7)])
def test_no_part_is_larger_than_its_limit(limit, expected, monkeypatch):
    """A single row is taken even where it alone is larger."""
    monkeypatch.setattr(distill, "_PART_BYTES", limit)
    head, seen = nn.Linear(4, 11), []

    def teacher(states):
        seen.append(len(states))
        return head(states)

    divergence_of_states(torch.randn(7, 4), torch.randn(7, 4), (head, teacher), beta=1.0, vocab=11)
    assert seen == expected
