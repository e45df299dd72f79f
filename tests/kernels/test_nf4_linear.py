"""NF4 layers: bitsandbytes' weights to the bit, products and gradients against float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmeter_kernels.closeness import assert_close_to_float64
from alignmeter_kernels.nf4_linear import Nf4Weight, nf4_linear, portable
from alignmeter_kernels.nf4_linear.reference import CODES, dequantise, nf4_linear_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def made_weight(out=63, width=192, blocksize=64, double=True):
    """Any bytes are a weight; scales as those of a matrix of size 1."""
    draw = torch.Generator().manual_seed(0)
    elements = out * width
    blocks = -(-elements // blocksize)
    packed = torch.randint(256, (-(-elements // 2),), generator=draw, dtype=torch.uint8)
    if not double:
        absmax = torch.rand(blocks, generator=draw) + 1
        return Nf4Weight(packed, absmax, (out, width), blocksize)
    return Nf4Weight(
        packed=packed,
        absmax=torch.randint(256, (blocks,), generator=draw, dtype=torch.uint8),
        shape=(out, width),
        blocksize=blocksize,
        levels=torch.rand(256, generator=draw) - 0.5,
        nested_absmax=torch.rand(-(-blocks // 256), generator=draw) + 1,
        offset=torch.tensor(2.5),
    )


def made_inputs(weight, rows=17, dtype=torch.float32, bias=True):
    draw = torch.Generator().manual_seed(1)
    inputs = {"x": torch.randn(rows, weight.shape[1], generator=draw).to(dtype)}
    if bias:
        inputs["bias"] = torch.randn(weight.shape[0], generator=draw).to(dtype)
    return inputs


def run(weight):
    return lambda i: {"y": nf4_linear(i["x"], weight, i.get("bias"))}


def run_reference(weight, dtype):
    """float64 on the weight as the dtype holds it: its rounding is the format's, not a mistake."""
    wide = dequantise(weight, dtype).double()
    return lambda i: {"y": torch.nn.functional.linear(i["x"], wide, i.get("bias"))}


@pytest.fixture
def small_parts(monkeypatch):
    """The fewest rows a part may have, so that a short test crosses their borders."""
    monkeypatch.setattr(portable, "_PART_BYTES", 1)


def of_bitsandbytes(matrix, blocksize, double):
    """Our view of what bitsandbytes packed, and what it makes of it, as one row.

    Given rows it is wrong on CPUs with AVX-512 where they are a multiple of 16 wide but not of the
    block size; that is held against it in `test_bitsandbytes_own_view_of_whole_blocks` only.
    """
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="pip install 'alignmeter[qlora]'"
    )
    packed, state = functional.quantize_4bit(
        matrix, blocksize=blocksize, compress_statistics=double, quant_type="nf4"
    )
    nested = ()
    if double:
        assert state.state2.blocksize == 256
        nested = state.state2.code, state.state2.absmax, state.offset
    weight = Nf4Weight(packed, state.absmax, tuple(matrix.shape), blocksize, *nested)
    state.shape = torch.Size((1, matrix.numel()))
    # An odd count goes through torch.compile, which needs a compiler and takes seconds.
    with torch.compiler.set_stance("force_eager"):
        theirs = functional.dequantize_4bit(packed.view(-1, 1), state)
    return weight, theirs.reshape(matrix.shape)


def own_values(weight, dtype):
    """The weight as the portable path makes it, part by part; by columns too, where it does so."""
    values = torch.cat([part.clone() for _, part in portable._rows(weight, dtype)])
    if weight.shape[1] % weight.blocksize == 0:
        columns = [part.clone() for _, part in portable._columns(weight, dtype)]
        assert torch.equal(torch.cat(columns, 1), values)
    return values


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("blocksize", [64, 128])
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25, deadline=None)
@given(out=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_the_weight_is_bitsandbytes_to_the_bit(dtype, blocksize, double, out, width, seed):
    matrix = torch.randn(out, width, generator=torch.Generator().manual_seed(seed)).to(dtype)
    weight, theirs = of_bitsandbytes(matrix, blocksize, double)
    assert torch.equal(dequantise(weight, dtype), theirs)
    assert torch.equal(own_values(weight, dtype), theirs)


@pytest.mark.parametrize("blocksize", [64, 128])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bitsandbytes_own_view_of_whole_blocks(small_parts, dtype, blocksize):
    """Not as one row but as it is used: 512 columns, rows of whole blocks."""
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="pip install 'alignmeter[qlora]'"
    )
    matrix = torch.randn(100, 512, generator=torch.Generator().manual_seed(0)).to(dtype)
    weight, _ = of_bitsandbytes(matrix, blocksize, True)
    packed, state = functional.quantize_4bit(
        matrix, blocksize=blocksize, compress_statistics=True, quant_type="nf4"
    )
    assert torch.equal(own_values(weight, dtype), functional.dequantize_4bit(packed, state))


def test_codes_are_bitsandbytes():
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="pip install 'alignmeter[qlora]'"
    )
    assert functional.get_4bit_type("nf4", device="cpu").tolist() == list(CODES)


def test_two_bytes_by_hand():
    """0xF0 is 1 and -1, 0x7F is 0 and 1; the scales 2 and 3 belong to columns 0-31 and 32-63."""
    packed = torch.tensor([0xF0] * 16 + [0x7F] * 16, dtype=torch.uint8)
    weight = Nf4Weight(packed, torch.tensor([2.0, 3.0]), (1, 64), 32)
    found = nf4_linear(torch.eye(64), weight).flatten()
    assert found.tolist() == [2.0, -2.0] * 16 + [0.0, 3.0] * 16


@pytest.mark.parametrize("shape", [(1, 1), (60, 63), (63, 1000), (1000, 60), (130, 128), (7, 192)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_and_gradients(small_parts, shape, dtype):
    weight = made_weight(*shape)
    assert_close_to_float64(
        run(weight), run_reference(weight, dtype), made_inputs(weight, dtype=dtype)
    )


@pytest.mark.parametrize("blocksize", [32, 128, 4096])
@pytest.mark.parametrize("double", [False, True])
def test_block_sizes(blocksize, double):
    weight = made_weight(blocksize=blocksize, double=double)
    inputs = made_inputs(weight, bias=False)
    assert_close_to_float64(run(weight), run_reference(weight, torch.float32), inputs)


@pytest.mark.parametrize("rows", [0, 1, 60, 1000])
def test_numbers_of_tokens(rows):
    weight = made_weight()
    inputs = made_inputs(weight, rows=rows)
    y = nf4_linear(inputs["x"], weight, inputs["bias"])
    torch.testing.assert_close(y, nf4_linear_reference(inputs["x"], weight, inputs["bias"]))
    assert y.shape == (rows, 63)


def test_leading_shape_is_kept_and_x_need_not_be_contiguous():
    weight = made_weight()
    x = torch.randn(192, 4, 5).permute(2, 1, 0).requires_grad_()
    y = nf4_linear(x, weight)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert y.shape == (5, 4, 63)
    torch.testing.assert_close(y, nf4_linear(x.detach().contiguous(), weight))
    torch.testing.assert_close(dx, dequantise(weight, x.dtype).sum(0).expand(5, 4, 192))


def test_of_the_inputs_only_the_weight_is_kept():
    weight = made_weight()
    inputs = {name: value.requires_grad_() for name, value in made_inputs(weight).items()}
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.data_ptr()) or t, lambda t: t
    ):
        y = nf4_linear(inputs["x"], weight, inputs["bias"])
    assert set(saved) == {t.data_ptr() for t in weight if isinstance(t, torch.Tensor)}
    y.sum().backward()
    assert all(value.grad is not None for value in inputs.values())
    assert not any(t.requires_grad for t in weight if isinstance(t, torch.Tensor))


def test_no_gradient_for_x_where_none_is_wanted(monkeypatch):
    """The first layer's input: the product with W is left out."""
    monkeypatch.setattr(portable, "backward", None)
    weight = made_weight()
    inputs = made_inputs(weight)
    bias = inputs["bias"].requires_grad_()
    nf4_linear(inputs["x"], weight, bias).sum().backward()
    assert torch.equal(bias.grad, torch.full((63,), 17.0))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_a_proper_operator(double, bias):
    weight = made_weight(double=double)
    inputs = {n: v.requires_grad_() for n, v in made_inputs(weight, bias=bias).items()}
    tensors = weight.packed, weight.absmax, weight.levels, weight.nested_absmax, weight.offset
    operators = torch.ops.alignmeter
    torch.library.opcheck(
        operators.nf4_linear.default, (inputs["x"], *tensors, inputs.get("bias"), 63, 64)
    )
    dy = torch.randn(17, 63)
    torch.library.opcheck(operators.nf4_linear_backward.default, (dy, *tensors, 192, 64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"packed": torch.zeros(9, dtype=torch.uint8)}, "packed has 9 elements; want 6048"),
        ({"packed": torch.zeros(6048)}, "packed is torch.float32; want torch.uint8"),
        ({"packed": torch.zeros(12096, dtype=torch.uint8)[::2]}, "packed is not contiguous"),
        ({"absmax": torch.zeros(189)}, "absmax is torch.float32; want torch.uint8"),
        ({"absmax": torch.zeros(3, dtype=torch.uint8)}, "absmax has 3 elements; want 189"),
        ({"levels": torch.zeros(16)}, "levels has 16 elements; want 256"),
        ({"nested_absmax": None}, "nested_absmax is missing; levels,"),
        ({"offset": torch.zeros(1, device="meta")}, "offset is on meta, x on cpu"),
        ({"blocksize": 48}, "blocksize is 48; want one of"),
    ],
)
def test_a_wrong_weight_is_named(change, words):
    weight = made_weight()
    with pytest.raises(ValueError, match=words):
        nf4_linear(torch.zeros(2, 192), weight._replace(**change))


@pytest.mark.parametrize(
    ("x", "bias", "words"),
    [
        (torch.zeros(2, 191), None, r"x is \(2, 191\); want \[..., 192\]"),
        (torch.zeros(2, 192, dtype=torch.float64), None, "x is torch.float64; want one of"),
        (torch.zeros(2, 192), torch.zeros(1, 63), r"bias is \(1, 63\); want \[63\]"),
        (torch.zeros(2, 192), torch.zeros(63, dtype=torch.float16), "bias is torch.float16"),
    ],
)
def test_a_wrong_input_is_named(x, bias, words):
    with pytest.raises(ValueError, match=words):
        nf4_linear(x, made_weight(), bias)
