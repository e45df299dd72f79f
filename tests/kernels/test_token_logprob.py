"""token_logprob against float64 and by hand."""

import math

import pytest
import torch

from alignmeter_kernels import KERNELS
from alignmeter_kernels.token_logprob.reference import token_logprob


def test_by_hand():
    """Logits (0, ln 3): probabilities 1/4 and 3/4."""
    logits = torch.tensor([[[0.0, math.log(3)]]])
    assert token_logprob(logits, torch.tensor([[1]])).item() == pytest.approx(math.log(0.75))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-5),
        # The logits themselves are rounded: |x| < 8 with 8 and 11 significant bits.
        (torch.bfloat16, 2 * 8 * 2**-8),
        (torch.float16, 2 * 8 * 2**-11),
    ],
)
def test_against_float64(dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 1000, generator=generator, dtype=torch.float64) * 1.5
    labels = torch.randint(1000, (3, 7), generator=generator)
    exact = token_logprob(logits, labels)
    assert exact.dtype == torch.float64
    found = token_logprob(logits.to(dtype), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=tolerance)


def test_gradient_is_one_hot_minus_softmax():
    logits = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 4]])
    token_logprob(logits, labels).sum().backward()
    one_hot = torch.nn.functional.one_hot(labels, 5).double()
    torch.testing.assert_close(logits.grad, one_hot - logits.detach().softmax(-1))


def test_non_contiguous_logits():
    logits = torch.randn(5, 4, 3).transpose(0, 2)
    labels = torch.zeros(3, 4, dtype=torch.int64)
    torch.testing.assert_close(
        token_logprob(logits, labels), token_logprob(logits.contiguous(), labels)
    )


def test_wrong_shape_and_dtype_are_named():
    logits = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"labels \(2, 4\) do not match logits \(2, 3, 4\)"):
        token_logprob(logits, torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"torch\.int32; want torch\.int64"):
        token_logprob(logits, torch.zeros(2, 3, dtype=torch.int32))


def test_every_registered_kernel_has_a_reference_and_a_readme():
    from importlib import import_module
    from pathlib import Path

    for package in KERNELS.values():
        folder = Path(next(iter(import_module(package).__path__)))
        assert (folder / "reference.py").is_file()
        assert (folder / "README.md").is_file()
