"""What passes through a whole model cost, from its blocks and heads."""

__all__ = ["Network", "Trained"]

from dataclasses import dataclass

from alignmeter.flops.blocks import Block, Blocks, Product
from alignmeter.flops.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """``rank`` 0: every weight trains; else adapters of that rank on the products ``targets``."""

    rank: int = 0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A causal LM or scalar model of these blocks, ``width`` channels, ``vocab`` token ids.

    ``tied``: its LM head is its table of embeddings.
    """

    blocks: Blocks
    width: int
    vocab: int
    trained: Trained = Trained()
    tied: bool = True

    def forward(self, work: Work, *, adapted: bool = True) -> int:
        """FLOPs of a forward pass, with the adapters or without them."""
        blocks = sum(n * self._forward(block, work, adapted=adapted) for block, n in self.blocks)
        return blocks + self._heads(work.logits, work.scores)

    def backward(self, work: Work) -> int:
        """FLOPs of the backward pass after `forward`.

        A product whose weight trains costs twice its forward: the gradients of its input and of
        its weight. A frozen one costs its forward once: the gradient of its input, which up to the
        first adapter nothing needs. Attention's products have two inputs and cost twice their
        forward either way, whichever of queries, keys and values has an adapter.
        """
        blocks = sum(n * self._backward(block, work) for block, n in self.blocks)
        if not self.trained.rank:
            return blocks + 2 * self._heads(work.logits, work.scores)
        return blocks - self._unneeded(work) + self._heads(work.logits, 2 * work.scores)

    def recomputed(self, work: Work) -> int:
        """FLOPs that checkpointing adds to `backward`.

        Each block runs again, up to the last tensor that its backward pass wants: torch stops
        there (``early_stop`` in torch.utils.checkpoint), so the block's last product does not run
        again. transformers makes the embeddings' output want a gradient
        (``enable_input_require_grads``), so with adapters the first block's input gets one.
        """
        again = 0
        for block, count in self.blocks:
            last = block.products[-1]
            spared = 2 * self.trained.rank * last.outputs if self._adapter(last) else last.flops
            again += count * (self._forward(block, work, adapted=True) - spared * work.tokens)
        return again + (self._unneeded(work) if self.trained.rank else 0)

    def head_gradients(self, work: Work) -> int:
        """FLOPs within `backward` of the LM head's: of its input, and of a weight that trains."""
        return (1 if self.trained.rank else 2) * self._heads(work.logits, 0)

    def frozen_head(self, work: Work) -> int:
        """FLOPs within `backward` of the gradient through a frozen LM head: of a log-prob it can be
        found in the forward pass, as `alignmeter_kernels.linear_logprob` does on a CPU.
        """
        return self._heads(work.logits, 0) if self.trained.rank else 0

    def masked(self, work: Work, *, trains: bool) -> int:
        """FLOPs within `forward`, and `backward` if it ``trains``, of pairs that are masked."""
        attention = sum(n * _attention(block, work.masked) for block, n in self.blocks)
        return (3 if trains else 1) * attention

    def _adapter(self, product: Product) -> int:
        """FLOPs per token of ``B A x``, A [rank, inputs], B [outputs, rank]."""
        adapted = product.name in self.trained.targets
        return 2 * self.trained.rank * (product.inputs + product.outputs) if adapted else 0

    def _adapters(self, block: Block) -> int:
        return sum(self._adapter(product) for product in block.products)

    def _forward(self, block: Block, work: Work, *, adapted: bool) -> int:
        per_token = _products(block) + block.mixing.forward
        per_token += self._adapters(block) if adapted else 0
        return per_token * work.tokens + _attention(block, work.pairs)

    def _backward(self, block: Block, work: Work) -> int:
        """With adapters as if its input needed a gradient."""
        if not self.trained.rank:
            per_token = 2 * _products(block) + block.mixing.backward
        else:
            per_token = _products(block) + 2 * self._adapters(block) + block.mixing.backward_frozen
        return per_token * work.tokens + 2 * _attention(block, work.pairs)

    def _heads(self, logits: int, scores: int) -> int:
        return 2 * self.width * (self.vocab * logits + scores)

    def _unneeded(self, work: Work) -> int:
        """Of all blocks up to the first that has an adapter, back to what enters the model."""
        flops = 0
        for block, count in self.blocks:
            if self._adapters(block):
                return flops + self._input_gradient(block, work)
            flops += count * self._input_gradient(block, work)
        return flops

    def _input_gradient(self, block: Block, work: Work) -> int:
        """Of one block, back to what enters it from the first products that have adapters: through
        their frozen weights, through each A, and through all that comes before them.
        """
        flops, rank = 0, self.trained.rank
        for place, products in enumerate(block.stages()):
            adapted = [product for product in products if self._adapter(product)]
            flops += work.tokens * sum(product.flops for product in products)
            flops += work.tokens * sum(2 * rank * product.inputs for product in adapted)
            if adapted:
                break
            if place == 0:  # what mixes tokens comes after the first products
                flops += work.tokens * block.mixing.backward_frozen
                flops += 2 * _attention(block, work.pairs)
        return flops


def _products(block: Block) -> int:
    return sum(product.flops for product in block.products)


def _attention(block: Block, pairs: int) -> int:
    """``Q K^T`` and its product with V: 2 FLOPs each for a pair and a channel."""
    return 4 * block.attention * pairs
