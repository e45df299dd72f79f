"""The models of a cell, built the same way for every method."""

__all__ = ["Setup", "open_setup", "vocabulary"]

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures import (
    Architecture,
    ScalarModel,
    architecture_of,
    open_architecture,
)
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import Precision, precision_of
from alignmeter.cells.cell import Cell
from alignmeter.parallel import ALONE, Ranks, gathered, open_ranks, shard
from alignmeter.peft import PeftMode, adapters_off, open_peft
from alignmeter.peft.adapters import AdapterView, add_adapter, recomputation
from alignmeter.training.backbones import Backbones
from alignmeter.training.optimizers import Stepped, inner_matrices, open_optimizer

_REWARD_SEED, _VALUE_SEED, _ADAPTER_SEED, _TEACHER_SEED = 1, 2, 3, 5
"""Added to the replicate's seed: these backbones must differ from the policy's. 4 is sampling's."""


def open_setup(
    cell: Cell,
    device: torch.device,
    *,
    seed: int,
    layers: int | None = None,
    rounded: torch.dtype | None = None,
) -> "Setup":
    """Look up the cell's registries and put the cell's kernels in place, for the whole process.

    For the agreement check: ``layers`` cuts every backbone to its first layers; ``rounded`` makes
    weights pass through that dtype, as a cell that stores them in it has them.
    """
    architecture, peft = architecture_of(cell), open_peft(cell.peft)
    architecture.use_kernels(
        cell.kernels, packages=open_accelerator(cell.accelerator).vendor_kernels
    )
    precision = precision_of(cell.precision)
    backbones = Backbones(
        cell=cell,
        device=device,
        architecture=architecture,
        peft=peft,
        precision=precision,
        layers=layers,
        rounded=rounded,
    )
    return Setup(
        cell=cell,
        device=device,
        seed=seed,
        architecture=architecture,
        peft=peft,
        precision=precision,
        backbones=backbones,
        teachers=backbones.of_teacher(),
        ranks=open_ranks(cell, device),
    )


def vocabulary(cell: Cell) -> int:
    """Number of token ids of the cell's models."""
    if cell.model != RANDOM:
        return find_checkpoint(cell.model).vocab_size
    return int(open_architecture(cell.architecture).shape(cell.size)["vocab_size"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """A cell with its registries looked up; builds models on ``device`` from ``seed``."""

    cell: Cell
    device: torch.device
    seed: int
    architecture: Architecture
    peft: PeftMode
    precision: Precision
    backbones: Backbones
    teachers: Backbones
    ranks: Ranks = ALONE
    _inner: set[int] = field(default_factory=set, init=False, repr=False)
    """Ids of the inner matrices of what trains: they live as long as the models that were made."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids of the model."""
        return vocabulary(self.cell)

    def policy(self) -> nn.Module:
        """The causal LM that trains."""
        return self._trained(self.backbones.take(self.seed, more=True))

    def ref(self) -> nn.Module | None:
        """A frozen copy of the untrained policy, or ``None`` where no second model is needed."""
        if self.cell.ref != "resident":
            return None
        return self.backbones.take(self.seed).requires_grad_(False).eval()

    def reward(self) -> nn.Module:
        """A frozen scalar model with a backbone of its own."""
        return self._scalar(self.seed + _REWARD_SEED).requires_grad_(False).eval()

    def teacher(self) -> nn.Module:
        """A frozen causal LM with weights of its own, of the size that the cell's teacher has."""
        return self.teachers.take(self.seed + _TEACHER_SEED).requires_grad_(False).eval()

    def trained_reward(self) -> nn.Module:
        """The same model before reward modelling: it trains like the policy."""
        return self._trained(self._scalar(self.seed + _REWARD_SEED))

    def value(self) -> nn.Module:
        """A scalar model with a backbone of its own that trains like the policy."""
        return self._trained(self._scalar(self.seed + _VALUE_SEED))

    def value_head(self, policy: nn.Module) -> ScalarModel:
        """A trained value head on the policy's own backbone."""
        return self._head(policy, self.seed + _VALUE_SEED, trains=True)

    def reward_head(self, ref: nn.Module) -> ScalarModel:
        """A frozen reward head on the ref_model's backbone."""
        return self._head(ref, self.seed + _REWARD_SEED, trains=False)

    def value_adapter(self, policy: nn.Module) -> AdapterView:
        """A trained value head and adapter on the policy's frozen base."""
        return self._adapter(policy, "value", self.seed + _VALUE_SEED, trains=True)

    def reward_adapter(self, policy: nn.Module) -> AdapterView:
        """A frozen reward head and adapter on the policy's frozen base."""
        return self._adapter(policy, "reward", self.seed + _REWARD_SEED, trains=False)

    def _head(self, model: nn.Module, seed: int, *, trains: bool) -> ScalarModel:
        scalar = ScalarModel(model, seed=seed, dtype=self.precision.base)
        scalar.score.to(self.device).requires_grad_(trains)
        return scalar

    def _adapter(self, model: nn.Module, name: str, seed: int, *, trains: bool) -> AdapterView:
        scalar = self._head(model, seed, trains=trains)
        add_adapter(scalar, self.architecture, self.cell, name=name, seed=seed, trains=trains)
        scalar = scalar.to(self.device)
        self._inner.update(map(id, inner_matrices(scalar)))
        return AdapterView(scalar, name)

    def _scalar(self, seed: int) -> nn.Module:
        backbone = self.backbones.take(seed)
        return ScalarModel(backbone, seed=seed, dtype=self.precision.base).to(self.device)

    def _trained(self, model: nn.Module) -> nn.Module:
        model = self.peft.train(
            model, self.architecture, self.cell, seed=self.seed + _ADAPTER_SEED
        ).to(self.device)
        if self.cell.checkpointing == "on":
            backbone: Any = model.backbone if isinstance(model, ScalarModel) else model
            _enable_checkpointing(backbone)
        self._inner.update(map(id, inner_matrices(model)))
        return model.train()

    def shard(self, models: Mapping[str, nn.Module]) -> None:
        """Leave each of several ranks its share of these, once all are made and none has an
        optimizer; later ones share what an earlier one holds.
        """
        if self.ranks.mesh is None:
            return
        self.backbones.forget()
        shard(models, self.cell, self.ranks.mesh)
        for model in models.values():
            self._inner.update(map(id, inner_matrices(model)))
        if self.cell.lora_dropout != "0":  # each rank drops inputs of its own rows
            torch.manual_seed(self.seed + self.ranks.rank)

    def optimizer(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float
    ) -> torch.optim.Optimizer:
        """The cell's optimizer on those that train: the models are made by then."""
        self.backbones.forget()
        trained = [p for p in dict.fromkeys(parameters) if p.requires_grad]
        stepped = Stepped(parameters=trained, inner=[p for p in trained if id(p) in self._inner])
        kind = open_optimizer(self.cell.optimizer)
        return kind.make(stepped, learning_rate=learning_rate, cell=self.cell)

    def forward(self) -> AbstractContextManager[object]:
        """The context of every forward pass: the cell's autocast; sharded models cast alone."""
        if self.ranks.size > 1:
            return contextlib.nullcontext()
        return self.precision.region(self.device)

    def sampling(self, policy: nn.Module) -> AbstractContextManager[None]:
        """The context of a rollout: where the cell says so, the policy's weights gathered once."""
        if self.cell.rollout_weights == "gathered":
            return gathered(policy)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def as_ref(self, policy: nn.Module, ref: nn.Module | None) -> Iterator[nn.Module]:
        """The ref_model: ``ref`` itself, or ``policy`` with its adapters off."""
        with torch.no_grad(), self.forward():
            if ref is not None:
                yield ref
            else:
                with adapters_off(policy):
                    yield policy


def _enable_checkpointing(model: Any) -> None:
    # transformers 5.23 renamed the call and warns about the old name; 5.17 has only that.
    name = "activation_checkpointing_enable"
    enable = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": lambda: recomputation(model)})
