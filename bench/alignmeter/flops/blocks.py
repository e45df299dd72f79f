"""One block of each architecture as matrix products, attention and a recurrence.

Counted: matrix products, attention's two products, the depthwise convolution, the state's
recurrence. Not counted: whatever is as large as the activations only (norms, gates, softmax, rotary
angles, biases, residuals), and looking up embeddings.
"""

__all__ = ["BLOCKS", "Block", "Mixing", "Product"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Mapping[str, Any]
"""Keys of the transformers config, as in `alignmeter.architectures`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A linear layer ``y = W x`` with W [outputs, inputs]; ``name`` as in ``lora_targets``.

    ``first``: x is what enters the block, so nothing below it in the block needs a gradient.
    """

    name: str
    inputs: int
    outputs: int
    first: bool = False

    @property
    def flops(self) -> int:
        """FLOPs per token: a multiplication and an addition for each weight."""
        return 2 * self.inputs * self.outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixing:
    """FLOPs per token of what mixes tokens at a cost that does not grow with their number.

    ``backward_frozen``: of the backward pass where its own weights are frozen.
    """

    forward: int = 0
    backward: int = 0
    backward_frozen: int = 0

    def __add__(self, other: "Mixing") -> "Mixing":
        return Mixing(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            backward_frozen=self.backward_frozen + other.backward_frozen,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """``products`` in the order of the forward pass, so that the block's last one comes last.

    ``attention``: heads x head size; a query and a key cost four times that, two products of 2.
    """

    products: tuple[Product, ...]
    attention: int = 0
    mixing: Mixing = Mixing()


def _llama(shape: Shape) -> Block:
    """Attention with grouped keys and a gated MLP."""
    width, mlp = shape["hidden_size"], shape["intermediate_size"]
    heads = shape["num_attention_heads"]
    head = shape.get("head_dim") or width // heads
    keys = head * shape["num_key_value_heads"]
    return Block(
        products=(
            Product(name="q_proj", inputs=width, outputs=head * heads, first=True),
            Product(name="k_proj", inputs=width, outputs=keys, first=True),
            Product(name="v_proj", inputs=width, outputs=keys, first=True),
            Product(name="o_proj", inputs=head * heads, outputs=width),
            Product(name="gate_proj", inputs=width, outputs=mlp),
            Product(name="up_proj", inputs=width, outputs=mlp),
            Product(name="down_proj", inputs=mlp, outputs=width),
        ),
        attention=head * heads,
    )


def _convolution(channels: int, kernel: int) -> Mixing:
    """Depthwise: ``2 K`` per channel; backward the same for its input and again for its weight."""
    forward = 2 * kernel * channels
    return Mixing(forward=forward, backward=2 * forward, backward_frozen=forward)


def _selective_scan(channels: int, state: int) -> Mixing:
    """Mamba's recurrence, https://arxiv.org/abs/2312.00752, algorithm 2, per channel and state.

    ``a_t = exp(dt_t A)``, ``h_t = a_t h_{t-1} + (dt_t u_t) B_t``, ``y_t = sum_n C_t h_t``.

    Forward 7: ``dt A`` 1, exp 1, ``a h`` 1, ``(dt u) B`` 1, their sum 1, ``C h`` 1, its sum 1.

    Backward 15, with g the gradient of h: ``g += C dy`` 2, ``dC += h dy`` 2, ``dB += g (dt u)`` 2,
    ``d(dt u) += g B`` 2, ``da = g h`` 1, ``g a`` for the step before 1, ``da a`` through exp 1,
    ``ddt += A`` times that 2, ``dA += dt`` times that 2. With A frozen 13.

    An exponential counts as one. These are the recurrence's own; a parallel scan does more (its
    authors say 9 forward, https://github.com/state-spaces/mamba/issues/110).
    """
    return _per_state(channels * state, forward=7, backward=15, backward_frozen=13)


def _ssd_scan(channels: int, state: int) -> Mixing:
    """Mamba-2's recurrence, https://arxiv.org/abs/2405.21060, section 3, per channel and state.

    ``h_t = a_t h_{t-1} + (dt_t x_t) B_t`` with one ``a_t = exp(dt_t A)`` for a whole head, whose
    own cost is therefore left out; ``y_t = sum_n C_t h_t``.

    Forward 5: ``a h`` 1, ``(dt x) B`` 1, their sum 1, ``C h`` 1, its sum 1.

    Backward 11, with g the gradient of h: ``g += C dy`` 2, ``dC += h dy`` 2, ``dB += g (dt x)`` 2,
    ``d(dt x) += g B`` 2, ``da += g h`` 2, ``g a`` for the step before 1. A's gradient is one number
    a head, so it makes no difference whether A trains.

    These are the recurrence's own; working in chunks does more, on faster units.
    """
    return _per_state(channels * state, forward=5, backward=11, backward_frozen=11)


def _per_state(states: int, *, forward: int, backward: int, backward_frozen: int) -> Mixing:
    return Mixing(
        forward=forward * states,
        backward=backward * states,
        backward_frozen=backward_frozen * states,
    )


def _mamba(shape: Shape) -> Block:
    """Input, selection, step size and output projections around convolution and scan."""
    width, state, rank = shape["hidden_size"], shape["state_size"], shape["time_step_rank"]
    inner = int(shape["expand"] * width)
    return Block(
        products=(
            Product(name="in_proj", inputs=width, outputs=2 * inner, first=True),
            Product(name="x_proj", inputs=inner, outputs=rank + 2 * state),
            Product(name="dt_proj", inputs=rank, outputs=inner),
            Product(name="out_proj", inputs=inner, outputs=width),
        ),
        mixing=_convolution(inner, shape["conv_kernel"]) + _selective_scan(inner, state),
    )


def _mamba2(shape: Shape) -> Block:
    """One input projection for gate, x, B, C and dt; the convolution runs over x, B and C."""
    width, state = shape["hidden_size"], shape["state_size"]
    inner = int(shape["expand"] * width)
    convolved = inner + 2 * shape["n_groups"] * state
    joined = inner + convolved + shape["num_heads"]
    return Block(
        products=(
            Product(name="in_proj", inputs=width, outputs=joined, first=True),
            Product(name="out_proj", inputs=inner, outputs=width),
        ),
        mixing=_convolution(convolved, shape["conv_kernel"]) + _ssd_scan(inner, state),
    )


BLOCKS: dict[str, Callable[[Shape], Block]] = {
    "llama": _llama,
    "mamba": _mamba,
    "mamba2": _mamba2,
}
"""Architecture -> its block at a shape."""
