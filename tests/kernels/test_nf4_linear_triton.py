"""The Triton functions of `nf4_linear` under Triton's interpreter, against float64.

bf16 is left out: under the interpreter `tl.dot` on bf16 operands is silently wrong.
"""

import pytest
import torch
from test_nf4_linear import made_inputs, made_weight, run_reference

from alignmeter_kernels.closeness import assert_close_to_float64

pytest.importorskip("triton", reason="no Triton; pip install triton")

from alignmeter_kernels.nf4_linear import gpu
from alignmeter_kernels.nf4_linear.reference import dequantise, scales


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias, weight):
        ctx.weight = weight
        return gpu.forward(x, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        dbias = dy.sum(0) if ctx.needs_input_grad[1] else None
        return gpu.backward(dy, ctx.weight), dbias, None


def run(weight):
    return lambda i: {"y": Linear.apply(i["x"], i.get("bias"), weight)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("rows", "shape", "blocksize"),
    [
        (17, (33, 128), 64),  # rows of two blocks; masked in tokens and out
        (40, (20, 192), 64),  # more tokens than the tile of decoding has; in is 1.5 tiles of 128
        (3, (5, 256), 128),
        (5, (33, 64), 32),  # blocks smaller than a tile
        (17, (20, 96), 64),  # every second row begins inside a block
        (17, (9, 63), 64),  # and half of them inside a byte
        (1, (1, 1), 64),
    ],
)
def test_outputs_and_gradients(rows, shape, blocksize, dtype):
    weight = made_weight(*shape, blocksize=blocksize)
    inputs = made_inputs(weight, rows=rows, dtype=dtype)
    assert_close_to_float64(run(weight), run_reference(weight, dtype), inputs)


@pytest.mark.parametrize("shape", [(20, 128), (20, 63)])
def test_without_double_quantisation_and_bias(shape):
    weight = made_weight(*shape, double=False)
    inputs = made_inputs(weight, bias=False)
    assert_close_to_float64(run(weight), run_reference(weight, torch.float32), inputs)


@pytest.mark.parametrize("width", [64, 60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_weight_is_the_references_to_the_bit(width, dtype):
    """A row of the identity picks a column of W: one product, and a sum with zeros."""
    weight = made_weight(40, width)
    wanted = dequantise(weight, dtype)
    assert torch.equal(gpu._scales(weight), scales(weight))
    assert torch.equal(gpu.forward(torch.eye(width, dtype=dtype), weight, None).mT, wanted)
    assert torch.equal(gpu.backward(torch.eye(40, dtype=dtype), weight), wanted)
