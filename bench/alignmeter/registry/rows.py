"""What a row of the registry says: where its object is, and what is asked without torch."""

__all__ = [
    "AcceleratorRow",
    "ArchitectureRow",
    "LossHeadRow",
    "MethodRow",
    "OptimizerRow",
    "PeftRow",
    "RolloutRow",
    "Row",
    "default_name",
    "load",
    "row_of",
]

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from alignmeter.errors import InputError, known


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """``path``: ``module:object``. ``default``: a cell that names none has this one."""

    path: str
    default: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodRow(Row):
    """``axes``: those that only some methods have and that change what this one does.

    ``layout``: those of them that decide what its figures are figures of, so that a row never
    comes without them. ``idle``: (axis, value, other axis): at that value the other one changes
    nothing. ``trained_models``: models with an optimizer, the policy and others.
    ``mean_loss``: its loss is a mean of log-probs and wants no single one. ``rollouts``: it trains
    on responses that it samples itself. ``unpaired``: it trains on answers that are judged one by
    one, besides pairs. ``title``: how people spell it, if not in capitals.
    """

    axes: tuple[str, ...] = ()
    idle: tuple[tuple[str, object, str], ...] = ()
    layout: tuple[str, ...] = ()
    trained_models: int = 1
    mean_loss: bool = False
    rollouts: bool = False
    unpaired: bool = False
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchitectureRow(Row):
    """``state_space``: it has layers that carry a state from token to token. ``attends``: it has
    layers in which tokens attend to those before them.

    ``packs``: rows that stand one after the other in a sequence, each from position 0 on, do not
    see each other.
    """

    state_space: bool
    attends: bool
    packs: bool = False

    @property
    def hybrid(self) -> bool:
        """Whether it has layers of both kinds."""
        return self.state_space and self.attends


@dataclass(frozen=True, kw_only=True, slots=True)
class PeftRow(Row):
    """``adapters``: it trains adapters on a frozen base, which without them is the ref_model.

    ``axes``: those that only some modes have and that change what this one does. ``libraries``:
    packages beside torch and transformers whose code decides its losses. ``title``: how its paper
    spells it, if not as it is named here.
    """

    adapters: bool
    default_ref: str
    axes: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossHeadRow(Row):
    """``every_token``: it reads all tokens of a row, not those of its response alone.

    ``means``: it gives a mean loss, computed with its gradients in the forward pass, and no
    log-probs.
    """

    every_token: bool = False
    means: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerRow(Row):
    """``axes``: those that only some optimizers have and that change what this one does.

    ``libraries``: as of a `PeftRow`.
    """

    axes: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceleratorRow(Row):
    """``precision``: number format of a cell that names none; ``adapter_precision``: the same
    where adapters train on a frozen base.
    """

    precision: str
    adapter_precision: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutRow(Row):
    """``phases``: those that it adds to a step, before ``rollout``.

    ``compiled``: a compiler makes its decoding step, whose buffers no plan knows. ``served``: it
    samples in a process of its own, with weights, cache and memory that torch here knows not.
    """

    phases: tuple[str, ...] = ()
    compiled: bool = False
    served: bool = False


_Row = TypeVar("_Row", bound=Row)


def row_of(rows: Mapping[str, _Row], name: str) -> _Row:
    """The row of that name. Raises `InputError` for a name without a row."""
    if name not in rows:
        raise InputError(f"{name!r} is not a known name; {known(rows)}")
    return rows[name]


def load(rows: Mapping[str, Row], name: str) -> Any:
    """The object behind one row. Raises `InputError` for a name without a row."""
    module, _, attribute = row_of(rows, name).path.partition(":")
    return getattr(import_module(module), attribute)


def default_name(rows: Mapping[str, Row]) -> str:
    """The name whose row is the default. Raises `ValueError` unless exactly one is."""
    (name,) = (name for name, row in rows.items() if row.default)
    return name
