"""One block of a model as matrix products, attention and a recurrence.

Each architecture brings its own (`alignmeter.architectures`).

Counted: matrix products, attention's two products, the depthwise convolution, the state's
recurrence. Not counted: whatever is as large as the activations only (norms, gates, softmax, rotary
angles, biases, residuals), and looking up embeddings.
"""

__all__ = ["Block", "Blocks", "Mixing", "Product"]

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A linear layer ``y = W x`` with W [outputs, inputs]; ``name`` as in ``lora_targets``.

    ``first``: x is what enters the block, so nothing below it in the block needs a gradient.
    ``beside``: x is what the product before it reads.
    """

    name: str
    inputs: int
    outputs: int
    first: bool = False
    beside: bool = False

    @property
    def weights(self) -> int:
        """Values of W."""
        return self.inputs * self.outputs

    @property
    def flops(self) -> int:
        """FLOPs per token: a multiplication and an addition for each weight."""
        return 2 * self.weights


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
    ``keys``: heads that have keys of their own x head size: a cache holds that many values of keys,
    and of values, for each token. ``state``: values of the state that a row carries instead.
    """

    products: tuple[Product, ...]
    attention: int = 0
    mixing: Mixing = Mixing()
    keys: int = 0
    state: int = 0

    def stages(self) -> list[list[Product]]:
        """Its products in order, those together that read the same."""
        stages: list[list[Product]] = []
        for product in self.products:
            if product.beside:
                stages[-1].append(product)
            else:
                stages.append([product])
        return stages


Blocks = tuple[tuple[Block, int], ...]
"""(Block, how many of it stand one after the other), in the order of the forward pass."""
