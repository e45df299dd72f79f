"""How many bytes hold a model's matrices, a rollout's cache and an optimizer's states."""

__all__ = ["Storage"]

from collections.abc import Callable
from dataclasses import dataclass

from alignmeter.flops.blocks import Product


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """``base``, ``adapters``: bytes of one value of a weight. ``compute``: of one value as products
    read it, and as a cache holds it.

    ``cast``: autocast gives products copies in that format, which later calls and the backward pass
    read in place of the weight. ``packed(values)``: bytes of a packed matrix of so many values,
    ``None`` where none is; ``loose``: names of products that are never packed.
    ``state(values, itemsize, inner)``: bytes that the optimizer keeps of a matrix; ``inner``: it
    lies within a block.
    """

    base: int
    adapters: int
    compute: int
    cast: bool = False
    packed: Callable[[int], int] | None = None
    loose: tuple[str, ...] = ()
    state: Callable[[int, int, bool], int] = lambda _values, _itemsize, _inner: 0

    def of_weight(self, product: Product, *, again: bool) -> int:
        """Bytes of its matrix; ``again``: of the copy that is read after the first time, if there
        is one.
        """
        if self.packed is not None and product.name not in self.loose:
            return self.packed(product.weights)
        return product.weights * self._read(self.base, again=again)

    def of_adapters(self, values: int, *, again: bool) -> int:
        """The same of so many values of adapters."""
        return values * self._read(self.adapters, again=again)

    def _read(self, itemsize: int, *, again: bool) -> int:
        return min(itemsize, self.compute) if again and self.cast else itemsize
