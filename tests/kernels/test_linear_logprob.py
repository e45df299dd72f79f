"""Log-probs from hidden states against float64, with a trained and with a frozen head."""

import math

import pytest
import torch

from alignmeter_kernels.closeness import assert_close_to_float64
from alignmeter_kernels.linear_logprob import linear_logprob, portable
from alignmeter_kernels.linear_logprob.reference import linear_logprob_reference


def made(tokens=63, width=12, vocabulary=1000, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=draw)
    weight = torch.randn(vocabulary, width, generator=draw) / math.sqrt(width)
    labels = torch.randint(vocabulary, (tokens,), generator=draw)
    return hidden.to(dtype), weight.to(dtype), labels


def run(function, labels):
    def call(inputs):
        logprobs, entropy = function(inputs["hidden"], inputs["weight"], labels)
        return {"logprobs": logprobs, "entropy": entropy.detach()}

    return call


@pytest.fixture
def small_slices(monkeypatch):
    """Slices of 48 words, so that a small vocabulary has several."""
    monkeypatch.setattr(portable, "_SLICE_BYTES", 1)
    monkeypatch.setattr(portable, "_LEAST_WORDS", 48)


@pytest.mark.parametrize("tokens", [1, 16, 60, 63])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_trained_head(small_slices, tokens, dtype):
    hidden, weight, labels = made(tokens=tokens, dtype=dtype)
    assert_close_to_float64(
        run(linear_logprob, labels), run(rounded_logits(dtype), labels),
        {"hidden": hidden, "weight": weight},
    )  # fmt: skip


def rounded_logits(dtype):
    """The reference on logits that pass through ``dtype``, as a product of that dtype gives them.

    Their rounding is the format's, not the kernel's, and a log-prob carries it whole.
    """

    def reference(hidden, weight, labels):
        if dtype == torch.float32:
            return linear_logprob_reference(hidden, weight, labels)
        logits = hidden @ weight.mT
        logits = logits + (logits.to(dtype).double() - logits).detach()
        logprobs = logits.log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        return logprobs.gather(-1, labels.unsqueeze(-1)).squeeze(-1), entropy

    return reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_head(small_slices, dtype):
    hidden, weight, labels = made(dtype=dtype)
    wide = weight.double()
    assert_close_to_float64(
        lambda i: run(linear_logprob, labels)({**i, "weight": weight}),
        lambda i: run(rounded_logits(dtype), labels)({**i, "weight": wide}),
        {"hidden": hidden},
    )


def test_a_frozen_head_keeps_no_logits():
    """Saved for the backward pass: one vector of the hidden size per token."""
    hidden, weight, labels = made()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.numel()) or t, lambda t: t
    ):
        linear_logprob(hidden.requires_grad_(), weight, labels)
    assert sum(saved) <= hidden.numel()


def test_uniform_logits_by_hand():
    """A zero head: every label has log-prob -ln V and the entropy is ln V."""
    logprobs, entropy = linear_logprob(
        torch.randn(3, 4), torch.zeros(8, 4), torch.tensor([0, 3, 7])
    )
    assert logprobs.tolist() == pytest.approx([-math.log(8)] * 3)
    assert entropy.tolist() == pytest.approx([math.log(8)] * 3)


def test_leading_shape_is_kept():
    hidden, weight, labels = made(tokens=12)
    flat, _ = linear_logprob(hidden, weight, labels)
    shaped, _ = linear_logprob(hidden.view(3, 4, -1), weight, labels.view(3, 4))
    assert torch.equal(shaped, flat.view(3, 4))


@pytest.mark.parametrize("direction", [True, False])
def test_it_is_a_proper_operator(direction):
    hidden, weight, labels = made(tokens=5)
    weight.requires_grad_(not direction)
    torch.library.opcheck(
        torch.ops.alignmeter.linear_logprob.default,
        (hidden.requires_grad_(), weight, labels, direction),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((1, torch.zeros(9, 3)), "weight is \\(9, 3\\); want \\[V, 12\\]"),
        ((2, torch.zeros(5, dtype=torch.int64)), "labels are \\(5,\\); want \\(63,\\)"),
        ((2, torch.zeros(63)), "labels are torch.float32; want torch.int64"),
        ((1, torch.zeros(9, 12, dtype=torch.float16)), "want one float dtype"),
        ((1, torch.zeros(9, 12, device="meta")), "weight is on meta"),
    ],
)
def test_wrong_inputs_are_named(change, words):
    arguments = list(made())
    arguments[change[0]] = change[1]
    with pytest.raises(ValueError, match=words):
        linear_logprob(*arguments)
