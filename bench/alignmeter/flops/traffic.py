"""Bytes that a device's memory moves at least for passes through a whole model.

Of matrices, of a rollout's cache and of optimizer states; whatever is as large as activations or as
a vector is left out, and so is looking up embeddings. docs/flops.md says what that takes for given.
"""

__all__ = ["Traffic"]

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alignmeter.flops.blocks import Block, Product
from alignmeter.flops.network import Network
from alignmeter.flops.storage import Storage
from alignmeter.flops.work import Work


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Of one network whose weights lie in memory as ``storage`` says."""

    network: Network
    storage: Storage

    def forward(self, work: Work, *, adapted: bool) -> int:
        """Each call reads every weight, and of a cache what its tokens meet.

        A token reads the keys and values before it and writes its own, together one for each pair;
        a state is read and written.
        """
        read = work.calls * self._weights(work, adapted=adapted, again=work.cached)
        if not work.cached:
            return read
        cached = sum(
            count * (2 * block.keys * work.pairs + 2 * block.state * work.tokens)
            for block, count in self.network.blocks
        )
        return read + self.storage.compute * cached

    def backward(self, work: Work, *, recomputes: bool) -> int:
        """Every weight through which a gradient passes is read once, but for a frozen LM head
        (`Network.frozen_head`), and the gradient of each that trains is written.

        What a block that is computed again reads may still be in a cache when its gradients follow,
        so it counts once. ``recomputes``: the first block too, whose input nobody asks for else.
        """
        adapters = self.network.trained.rank > 0
        passed = replace(work, logits=0) if adapters else work
        read = self._weights(passed, adapted=True, again=True)
        if adapters and not recomputes:
            read -= self._idle()
        return read + sum(values * itemsize for values, itemsize, _ in self._trained(work))

    def step(self, work: Work) -> int:
        """The optimizer's, after backward passes over ``work``: it reads gradients, and reads and
        writes weights and states.
        """
        return sum(
            3 * values * itemsize + 2 * self.storage.state(values, itemsize, inner)
            for values, itemsize, inner in self._trained(work)
        )

    def _weights(self, work: Work, *, adapted: bool, again: bool) -> int:
        """Of all blocks where tokens enter them, and of the LM head where it reads some."""
        storage, network = self.storage, self.network
        read = storage.of_weight(self._head, again=again) if work.logits else 0
        for block, count in network.blocks if work.tokens else ():
            read += count * sum(storage.of_weight(p, again=again) for p in block.products)
            if adapted:
                values = sum(sum(self._adapter(p)) for p in block.products)
                read += count * storage.of_adapters(values, again=again)
        return read

    def _idle(self) -> int:
        """What no gradient passes through: products up to the first ones of the model that have
        adapters, and their A.
        """
        read = 0
        for block, count in self.network.blocks:
            idle, reached = self._idle_of(block)
            if reached:
                return read + idle
            read += count * idle
        return read

    def _idle_of(self, block: Block) -> tuple[int, bool]:
        """Of one block, and whether it has an adapter."""
        read = 0
        for products in block.stages():
            first = [self._adapter(product)[0] for product in products]
            read += sum(self.storage.of_weight(product, again=True) for product in products)
            read += self.storage.of_adapters(sum(first), again=True)
            if any(first):
                return read, True
        return read, False

    def _trained(self, work: Work) -> Iterator[tuple[int, int, bool]]:
        """Values, bytes of each, and whether it lies within a block: of every matrix that trains.

        The gradient of a table of embeddings has a row for each of its ids.
        """
        network, storage = self.network, self.storage
        for block, count in network.blocks:
            for product in block.products:
                if network.trained.rank:
                    adapter = self._adapter(product)
                    matrices = [(values, storage.adapters, True) for values in adapter if values]
                else:
                    matrices = [(product.weights, storage.base, True)]
                yield from matrices * count
        if network.trained.rank:
            return
        yield self._head.weights, storage.base, False  # the embeddings, as large
        if work.logits and not network.tied:
            yield self._head.weights, storage.base, False

    @property
    def _head(self) -> Product:
        return Product(name="lm_head", inputs=self.network.width, outputs=self.network.vocab)

    def _adapter(self, product: Product) -> tuple[int, int]:
        """Values of A [rank, inputs] and B [outputs, rank]; none where it has no adapter."""
        trained = self.network.trained
        adapted = product.name in trained.targets
        rank = trained.rank if adapted else 0
        return rank * product.inputs, rank * product.outputs
