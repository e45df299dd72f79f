"""The untrained backbones of a cell: each drawn or read once, the others copied from it."""

__all__ = ["Backbones"]

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.architectures.base import drawing_device
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.checkpoint.late import unread
from alignmeter.architectures.checkpoint.weights import Looked, look
from alignmeter.architectures.late_weights import Form
from alignmeter.architectures.precision import Precision
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.errors import CellError
from alignmeter.peft import PeftMode
from alignmeter.peft.nf4 import quantisation_tensors

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbones:
    """Causal LMs of ``cell`` on ``device``, in the form in which its PEFT mode stores them.

    ``layers`` and ``rounded`` as in `Setup`. ``zero_weights``, ``huge_weights``: names of a
    checkpoint's tensors, as `Looked` has them, once it was read.
    """

    cell: Cell
    device: torch.device
    architecture: Architecture
    peft: PeftMode
    precision: Precision
    layers: int | None = None
    rounded: torch.dtype | None = None
    zero_weights: set[str] = field(default_factory=set, init=False, repr=False)
    huge_weights: set[str] = field(default_factory=set, init=False, repr=False)
    _frames: dict[int, nn.Module] = field(default_factory=dict, init=False, repr=False)

    @property
    def drawn_on(self) -> str:
        """Type of the device whose generator draws the weights; empty where they are read."""
        if self.cell.model != RANDOM:
            return find_checkpoint(self.cell.model).drawing_device(
                layers=self.layers, device_type=self.device.type
            )
        return drawing_device(self.cell.size, layers=self.layers, device_type=self.device.type)

    @property
    def _draws(self) -> bool:
        """Whether another seed has other weights."""
        return self.cell.model == RANDOM or find_checkpoint(self.cell.model).drawn

    @property
    def _drawn_late(self) -> bool:
        """Whether ranks draw block by block while they share: what a device draws is too large to
        lie there whole beside the others.
        """
        return self.cell.world_size > 1 and self.drawn_on not in ("", "cpu") and not self._planned

    @property
    def _planned(self) -> bool:
        """Whether packed weights have no data: there is none that could be packed later."""
        return self.peft.packs and is_tracing()

    @property
    def _form(self) -> Form | None:
        """That of weights which come block by block; ``None`` where they stay as they come."""
        return Form(store=self._stored, settle=self.peft.settle) if self.peft.packs else None

    def of_teacher(self) -> "Backbones":
        """Those of the cell's teacher; these themselves where it has the student's own shape."""
        taught = as_teacher(self.cell)
        return self if taught is self.cell else replace(self, cell=taught)

    def take(self, seed: int, *, more: bool = False) -> nn.Module:
        """A backbone: of the checkpoint, or with the random weights of ``seed``.

        ``more``: further ones of the same weights may be wanted, which are copied where this one
        lies; it has to stay as it is until `forget`, but for adapters.
        """
        late = self._undrawn(seed) if self._drawn_late else self._unread()
        if late is not None:
            return self._patched(late)
        key = seed if self._draws else 0
        if key in self._frames:
            return self._patched(self.peft.copied(self._frames[key]))
        model = self._made(seed)
        # Copies of tensors without data would lose what is noted on them.
        if more and not is_tracing():
            self._frames[key] = _frame(model)
        return self._patched(model)

    def _undrawn(self, seed: int) -> nn.Module:
        dtype, device = self.precision.base, self.device
        if self.cell.model != RANDOM:
            return find_checkpoint(self.cell.model).build_undrawn(
                seed=seed, dtype=dtype, device=device, form=self._form
            )
        return self.architecture.build_undrawn(
            self.cell.size, seed=seed, dtype=dtype, device=device, form=self._form
        )

    def _unread(self) -> nn.Module | None:
        """A checkpoint that ranks read block by block; ``None`` where it is read whole."""
        apart = self.cell.world_size > 1 and self.layers is None
        if not apart or self._draws or self.rounded is not None or is_tracing():
            return None
        found, dtype = find_checkpoint(self.cell.model), self.precision.base
        return unread(
            found.config, found.files, dtype=dtype, device=self.device, looked=self._note,
            form=self._form,
        )  # fmt: skip

    def forget(self) -> None:
        """What was taken may be trained from here on; another one is drawn or read again."""
        self._frames.clear()

    def _made(self, seed: int) -> nn.Module:
        first = self.precision.base if self.rounded is None else self.rounded
        where = self.drawn_on
        if self.cell.model != RANDOM and where in ("", "cpu"):
            # A mode that packs weights would have the device hold them unpacked.
            place = _CPU if self.peft.packs or self.device.type == "cpu" else self.device
            checkpoint = find_checkpoint(self.cell.model)
            model = checkpoint.build(dtype=first, layers=self.layers, device=place, seed=seed)
            if not checkpoint.drawn:
                self._look(model)
        elif self.cell.model != RANDOM:
            return find_checkpoint(self.cell.model).build_there(
                seed=seed, dtype=first, device=self.device, store=self._stored
            )
        elif where != "cpu":
            return self.architecture.build_there(
                self.cell.size, seed=seed, dtype=first, device=self.device, store=self._stored
            )
        else:
            model = self.architecture.build(
                self.cell.size, seed=seed, dtype=first, layers=self.layers
            )
        return self._stored(model.to(self.precision.base)).to(self.device)

    def _look(self, model: nn.Module) -> None:
        """Before weights are packed. Raises as `_note`."""
        if not is_tracing():
            self._note(look(model.named_parameters()))

    def _note(self, found: Looked) -> None:
        """Raises `CellError` if some weights are not finite: no step would say more than that."""
        if found.not_finite:
            first, more = found.not_finite[0], len(found.not_finite) - 1
            raise CellError(
                "unsupported",
                "weights_not_finite",
                f"{first}{f' and {more} more' if more else ''} of {self.cell.model}: NaN or "
                "infinite as they were read",
            )
        self.zero_weights.update(found.zero)
        self.huge_weights.update(found.huge)

    def _stored(self, part: nn.Module) -> nn.Module:
        return self.peft.store(part, self.architecture, self.cell)

    def _patched(self, model: nn.Module) -> nn.Module:
        if self.cell.kernels == "vendor" and self.architecture.vendor is not None:
            self.architecture.vendor.apply(model)
        return model


def _frame(model: nn.Module) -> nn.Module:
    """The modules of ``model`` anew, on the same tensors: adapters come into one of the two."""
    tensors = (*model.parameters(), *model.buffers(), *quantisation_tensors(model))
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
