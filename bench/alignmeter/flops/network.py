"""What passes through a whole model cost, from its blocks and heads."""

__all__ = ["Network", "Trained"]

from dataclasses import dataclass

from alignmeter.flops.blocks import Block, Product
from alignmeter.flops.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """``rank`` 0: every weight trains; else adapters of that rank on the products ``targets``."""

    rank: int = 0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A causal LM or scalar model of ``layers`` blocks, ``width`` channels, ``vocab`` token ids.

    ``tied``: its LM head is its table of embeddings.
    """

    block: Block
    layers: int
    width: int
    vocab: int
    trained: Trained = Trained()
    tied: bool = True

    def forward(self, work: Work, *, adapted: bool = True) -> int:
        """FLOPs of a forward pass, with the adapters or without them."""
        return self._blocks(work, adapted=adapted) + self._heads(work.logits, work.scores)

    def backward(self, work: Work) -> int:
        """FLOPs of the backward pass after `forward`.

        A product whose weight trains costs twice its forward: the gradients of its input and of
        its weight. A frozen one costs its forward once: the gradient of its input, which in the
        first block nothing needs up to the first adapter. Attention's products have two inputs and
        cost twice their forward either way, whichever of queries, keys and values has an adapter.
        """
        attention = 2 * self._attention(work.pairs)
        if not self.trained.rank:
            per_token = 2 * self._products() + self.block.mixing.backward
            heads = 2 * self._heads(work.logits, work.scores)
            return self.layers * per_token * work.tokens + attention + heads
        per_token = self._products() + 2 * self._adapters() + self.block.mixing.backward_frozen
        heads = self._heads(work.logits, 2 * work.scores)
        blocks = self.layers * per_token * work.tokens - self._input_gradient(work)
        return blocks + attention + heads

    def recomputed(self, work: Work) -> int:
        """FLOPs that checkpointing adds to `backward`.

        Each block runs again, up to the last tensor that its backward pass wants: torch stops
        there (``early_stop`` in torch.utils.checkpoint), so the block's last product does not run
        again. transformers makes the embeddings' output want a gradient
        (``enable_input_require_grads``), so with adapters the first block's input gets one.
        """
        last = self.block.products[-1]
        spared = 2 * self.trained.rank * last.outputs if self._adapter(last) else last.flops
        again = self._blocks(work, adapted=True) - self.layers * spared * work.tokens
        return again + (self._input_gradient(work) if self.trained.rank else 0)

    def frozen_head(self, work: Work) -> int:
        """FLOPs within `backward` of the gradient through a frozen LM head: of a log-prob it can be
        found in the forward pass, as `alignmeter_kernels.linear_logprob` does on a CPU.
        """
        return self._heads(work.logits, 0) if self.trained.rank else 0

    def masked(self, work: Work, *, trains: bool) -> int:
        """FLOPs within `forward`, and `backward` if it ``trains``, of pairs that are masked."""
        return (3 if trains else 1) * self._attention(work.masked)

    def _products(self) -> int:
        return sum(product.flops for product in self.block.products)

    def _adapter(self, product: Product) -> int:
        """FLOPs per token of ``B A x``, A [rank, inputs], B [outputs, rank]."""
        adapted = product.name in self.trained.targets
        return 2 * self.trained.rank * (product.inputs + product.outputs) if adapted else 0

    def _adapters(self) -> int:
        return sum(self._adapter(product) for product in self.block.products)

    def _blocks(self, work: Work, *, adapted: bool) -> int:
        per_token = self._products() + self.block.mixing.forward
        per_token += self._adapters() if adapted else 0
        return self.layers * per_token * work.tokens + self._attention(work.pairs)

    def _attention(self, pairs: int) -> int:
        """``Q K^T`` and its product with V: 2 FLOPs each for a pair and a channel."""
        return self.layers * 4 * self.block.attention * pairs

    def _heads(self, logits: int, scores: int) -> int:
        return 2 * self.width * (self.vocab * logits + scores)

    def _input_gradient(self, work: Work) -> int:
        """Of one block, back to what enters it from the first products that have adapters: through
        their frozen weights, through each A, and through all that comes before them.
        """
        flops, rank = 0, self.trained.rank
        for place, products in enumerate(self.stages()):
            adapted = [product for product in products if self._adapter(product)]
            flops += work.tokens * sum(product.flops for product in products)
            flops += work.tokens * sum(2 * rank * product.inputs for product in adapted)
            if adapted:
                break
            if place == 0:  # what mixes tokens comes after the first products
                flops += work.tokens * self.block.mixing.backward_frozen
                flops += 2 * 4 * self.block.attention * work.pairs
        return flops

    def stages(self) -> list[list[Product]]:
        """Products of a block in order, those together that read the same."""
        stages: list[list[Product]] = []
        for product in self.block.products:
            if product.beside:
                stages[-1].append(product)
            else:
                stages.append([product])
        return stages
