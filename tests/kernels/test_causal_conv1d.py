"""The causal convolution against float64: outputs, every gradient, both CPU paths."""

import pytest
import torch

from alignmeter_kernels.causal_conv1d import causal_conv1d, native
from alignmeter_kernels.causal_conv1d.reference import causal_conv1d_reference
from alignmeter_kernels.closeness import assert_close_to_float64


@pytest.fixture(params=["cpp", "torch"])
def path(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(native, "usable", lambda: False)
    elif not native.usable():
        pytest.skip("no C++ compiler; install one, e.g. g++")
    return request.param


def made(rows=2, width=5, length=63, taps=4, dtype=torch.float32, bias=True):
    draw = torch.Generator().manual_seed(0)
    found = {
        "x": torch.randn(rows, width, length, generator=draw),
        "weight": torch.randn(width, taps, generator=draw),
    }
    if bias:
        found["bias"] = torch.randn(width, generator=draw)
    return {name: value.to(dtype) for name, value in found.items()}


def check(inputs, silu=True):
    assert_close_to_float64(
        lambda i: {"y": causal_conv1d(**i, silu=silu)},
        lambda i: {"y": causal_conv1d_reference(**i, silu=silu)},
        inputs,
    )


@pytest.mark.parametrize("length", [1, 2, 3, 60, 63, 1000])
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_every_gradient(path, length, silu, bias):
    check(made(length=length, bias=bias), silu)


@pytest.mark.parametrize("taps", [1, 2, 4, 7])
def test_tap_counts(path, taps):
    check(made(taps=taps, length=20))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(path, dtype):
    check(made(dtype=dtype))


def test_inputs_need_not_be_contiguous(path):
    inputs = made()
    check({**inputs, "x": inputs["x"].mT.contiguous().mT, "weight": inputs["weight"].T.clone().T})


def test_no_token_sees_a_later_one(path):
    inputs = made()
    before = causal_conv1d(**inputs)
    inputs["x"][:, :, 40:] = torch.nan
    after = causal_conv1d(**inputs)
    assert torch.equal(before[:, :, :40], after[:, :, :40])
    assert after[:, :, 40:44].isnan().all()


def test_it_is_a_proper_operator(path):
    arguments = tuple(value.requires_grad_() for value in made().values())
    torch.library.opcheck(torch.ops.alignmeter.causal_conv1d.default, (*arguments, True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.zeros(2, 5)}, "want floats \\[rows, D, T\\]"),
        ({"weight": torch.zeros(4, 4)}, "weight is .*want \\[5, K\\]"),
        ({"bias": torch.zeros(4)}, "bias is .*want \\(5,\\)"),
        ({"weight": torch.zeros(5, 4, device="meta")}, "weight is on meta, x on cpu"),
    ],
)
def test_wrong_inputs_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        causal_conv1d(**{**made(), **changes})
