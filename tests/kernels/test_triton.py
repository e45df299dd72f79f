"""The Triton functions under Triton's interpreter, against float64: outputs and every gradient.

bf16 is left out: under the interpreter `tl.dot` on bf16 operands is silently wrong.
"""

import math

import pytest
import torch
from crossed import crossed
from test_selective_scan import NAMES
from test_selective_scan import made as scan_inputs

from alignmeter_kernels.closeness import assert_close_to_float64

pytest.importorskip("triton", reason="no Triton; pip install triton")

from alignmeter_kernels.causal_conv1d import gpu as conv_gpu
from alignmeter_kernels.causal_conv1d.reference import causal_conv1d_reference
from alignmeter_kernels.linear_logprob import gpu as logprob_gpu
from alignmeter_kernels.linear_logprob.reference import linear_logprob_reference
from alignmeter_kernels.selective_scan import gpu as scan_gpu
from alignmeter_kernels.selective_scan.reference import selective_scan_reference


class Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *tensors):
        y, last, kept = scan_gpu.forward(*tensors, softplus=True)
        ctx.save_for_backward(*tensors[:-1], kept)
        return y, last

    @staticmethod
    def backward(ctx, dy, dlast):
        *tensors, kept = ctx.saved_tensors
        results = kept, dy.contiguous(), dlast.contiguous()
        found = scan_gpu.backward(*tensors, results=results, softplus=True)
        given = [*tensors, True]
        return tuple(None if t is None else g for g, t in zip(found, given, strict=True))


def run_scan(inputs):
    y, last = Scan.apply(*(inputs.get(name) for name in NAMES))
    return {"y": y, "last": last}


def run_scan_reference(inputs):
    y, last = selective_scan_reference(**inputs, delta_softplus=True)
    return {"y": y, "last": last}


@pytest.mark.parametrize(
    ("length", "states", "options"),
    [(1, 4, NAMES[5:]), (19, 3, NAMES[5:]), (16, 4, ("initial_state",)),
     (9, 4, ("z", "initial_state"))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_selective_scan(monkeypatch, length, states, options, dtype):
    """Chunks of 8, so that a short sequence has several; 3 states in a tile of 4."""
    monkeypatch.setattr(scan_gpu, "CHUNK", 8)
    inputs = scan_inputs(width=3, length=length, states=states, options=options, dtype=dtype)
    assert_close_to_float64(run_scan, run_scan_reference, inputs)


@pytest.mark.parametrize(
    ("channels", "budget"), [(64, 2**20), (2, 2**20), (2, 384), (2, 768), (1, 1)]
)
def test_selective_scan_in_several_programs_and_segments(monkeypatch, channels, budget):
    """Partial sums of 2 states are 16 bytes a token and program: those of 3 programs and a chunk of
    8 tokens 384 bytes. So the budgets hold all 5 chunks, 1, 2, and not even the one that is taken.
    """
    monkeypatch.setattr(scan_gpu, "CHUNK", 8)
    monkeypatch.setattr(scan_gpu, "_MOST_CHANNELS", channels)
    monkeypatch.setattr(scan_gpu, "_PARTIAL_BYTES", budget)
    inputs = scan_inputs(rows=1, width=5, length=35, states=2)
    assert_close_to_float64(run_scan, run_scan_reference, inputs)


def test_selective_scan_keeps_nan(monkeypatch):
    monkeypatch.setattr(scan_gpu, "CHUNK", 8)
    inputs = scan_inputs(rows=1, width=2, length=10, states=2)
    inputs["delta"][0, 0, 5] = torch.nan
    found = run_scan(inputs)
    assert found["y"][0, 0, 5:].isnan().all()
    assert not found["y"][0, 0, :5].isnan().any()
    assert not found["y"][0, 1].isnan().any()


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, silu):
        ctx.save_for_backward(x, weight, bias)
        ctx.silu = silu
        return conv_gpu.forward(x, weight, bias, silu=silu)

    @staticmethod
    def backward(ctx, dy):
        x, weight, bias = ctx.saved_tensors
        dx, dweight, dbias = conv_gpu.backward(x, weight, bias, dy.contiguous(), silu=ctx.silu)
        return dx, dweight, None if bias is None else dbias, None


@pytest.mark.parametrize(
    *crossed(
        length=[1, 3, 60, 65, 130],
        options=[(True, True, 4), (False, False, 2)],
        dtype=[torch.float32, torch.bfloat16],
    )
)
def test_causal_conv1d(length, options, dtype):
    bias, silu, taps = options
    """No `tl.dot` in it, so bf16 can be tested here too."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"x": (2, 5, length), "weight": (5, taps)} | ({"bias": (5,)} if bias else {})
    inputs = {name: torch.randn(s, generator=draw).to(dtype) for name, s in shapes.items()}
    assert_close_to_float64(
        lambda i: {"y": Convolution.apply(i["x"], i["weight"], i.get("bias"), silu)},
        lambda i: {"y": causal_conv1d_reference(**i, silu=silu)},
        inputs,
    )


class LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, labels):
        logprobs, entropy, lse = logprob_gpu.forward(hidden, weight, labels)
        ctx.save_for_backward(hidden, weight, labels, lse)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx, grad, _):
        hidden, weight, labels, lse = ctx.saved_tensors
        trained = ctx.needs_input_grad[1]
        dhidden, dweight = logprob_gpu.backward(
            hidden, weight, labels, lse, grad.contiguous(), trained=trained
        )
        return dhidden, dweight if trained else None, None


@pytest.mark.parametrize(
    ("tokens", "width", "vocabulary"), [(1, 7, 5), (63, 12, 1000), (17, 60, 257)]
)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_linear_logprob(monkeypatch, tokens, width, vocabulary, frozen, dtype):
    """Slices of a few hundred words, so that the backward pass crosses their borders."""
    monkeypatch.setattr(logprob_gpu, "_SLICE_BYTES", 4096)
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=draw).to(dtype)
    weight = (torch.randn(vocabulary, width, generator=draw) / math.sqrt(width)).to(dtype)
    labels = torch.randint(vocabulary, (tokens,), generator=draw)
    labels[0] = vocabulary - 1

    def run(function):
        def call(inputs):
            head = inputs.get("weight", weight.to(inputs["hidden"].dtype))
            logprobs, entropy = function(inputs["hidden"], head, labels)
            return {"logprobs": logprobs, "entropy": entropy.detach()}

        return call

    inputs = {"hidden": hidden} if frozen else {"hidden": hidden, "weight": weight}
    assert_close_to_float64(run(LogProbs.apply), run(linear_logprob_reference), inputs)
