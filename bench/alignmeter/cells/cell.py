"""A cell: one point of the matrix, frozen, with an id that names it everywhere."""

__all__ = ["Alike", "Cell", "as_teacher", "digest", "make_cell"]

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from alignmeter.cells.axes import AXES, RANDOM, SAME, AxisValue, path_of
from alignmeter.cells.columns import AUTO
from alignmeter.cells.names import joined, named_axes, portable_axes
from alignmeter.registry import VARIANTS

_PATHS = ("data", "columns", "model")
"""The same file may lie elsewhere on another machine; its digest stands in for it, and for what its
columns are called."""
_DRAWN = frozenset(("architecture", "size"))
"""What random weights follow from: their digest is no more than these two."""
_DIGESTS = ("data_digest", "model_digest", "reward_digest", "teacher_digest")
_KNOWN = 8192
"""Answers of `Cell.without` that are kept: many records have few cells, and each is asked often."""
Alike = tuple[tuple[str, AxisValue], ...]


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every axis of the design, resolved: no ``auto`` and no default left open.

    ``data``, ``model``, ``reward`` and ``teacher`` may hold paths as they were given; what
    identifies the files is their digest, empty where there are none. With a ``model``, ``size`` is
    ``checkpoint``. An axis that came later has its ``omitted`` value
    as its default here: records from before it are decoded with what it was then.
    """

    id: str
    method: str
    architecture: str
    size: str
    model: str
    peft: str
    accelerator: str
    kernels: str
    seq_len: int
    prompt_len: int
    batch: int
    precision: str
    checkpointing: str
    optimizer: str
    lora_rank: int
    quantiser: str
    ref: str
    ppo_topology: str
    ppo_backward: str
    ppo_epochs: int
    ppo_minibatches: int
    lane: str
    data: str
    data_digest: str
    model_digest: str
    deterministic: str = "off"
    dpo_loss: str = VARIANTS["dpo_loss"][0]
    grpo_variant: str = VARIANTS["grpo_variant"][0]
    kl: str = "0"
    group: int = 2
    reward: str = "model"
    batching: str = "fixed"
    rollout: str = "eager"
    columns: str = AUTO
    teacher: str = SAME
    rows: int = 0
    microbatches: int = 1
    embeddings: str = "base"
    loss_head: str = "own"
    optimizer_impl: str = "fused"
    lora_targets: str = "all-linear"
    lora_dropout: str = "0"
    world_size: int = 1
    parallel: str = "none"
    rollout_weights: str = "sharded"
    reward_digest: str = ""
    teacher_digest: str = ""

    @property
    def step_rows(self) -> int:
        """Rows of one step: 2B, or as many as ``rows`` says."""
        return self.rows or 2 * self.batch

    @property
    def shards(self) -> int:
        """Among how many devices each weight is divided."""
        return self.world_size if self.parallel == "fsdp2" else 1

    def axes(self) -> dict[str, AxisValue]:
        """Axis name -> value, without id and digests."""
        return {name: getattr(self, name) for name in AXES}

    def without(self, *axes: str) -> Alike:
        """What is left of the cell, paths out and digests in: equal where two cells are alike.

        What goes with an axis goes out with it. Random weights are those of architecture and size.
        Of a prompt beside another ``seq_len`` it stays that it is half of the sequence, or else how
        long the response is.
        """
        return _without(self, axes)

    def digests(self) -> dict[str, str]:
        """Those of files and shapes that it has, by the name of their field."""
        found = {name: getattr(self, name) for name in _DIGESTS}
        return {name: value for name, value in found.items() if value}

    def name(self, *without: str) -> str:
        """The id without its digest and what it says of these axes."""
        return joined(self.axes(), without)


@lru_cache(maxsize=_KNOWN)
def _without(cell: Cell, axes: tuple[str, ...]) -> Alike:
    out = {*axes, *_PATHS}
    if "seq_len" in out:
        out.add("prompt_len")
    kept = {name: value for name, value in cell.axes().items() if name not in out}
    left = list(portable_axes(kept))
    if "seq_len" in out:
        left.append(("response", _response(cell)))
    if "data" not in axes:
        left.append(("data_digest", cell.data_digest))
    if "model" not in axes and not (cell.model == RANDOM and out & _DRAWN):
        left.append(("model_digest", cell.model_digest))
    if "reward" not in axes:
        left.append(("reward_digest", cell.reward_digest))
    drawn = path_of("teacher", cell.teacher) is None
    if "teacher" not in axes and not (drawn and "architecture" in out):
        left.append(("teacher_digest", cell.teacher_digest))
    return tuple(left)


def _response(cell: Cell) -> AxisValue:
    half = cell.prompt_len == cell.seq_len // 2
    return "half" if half else cell.seq_len - cell.prompt_len


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of ``value``, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def make_cell(axes: Mapping[str, AxisValue], digests: Mapping[str, str]) -> Cell:
    """The cell of fully resolved ``axes``. Raises `msgspec.ValidationError` on a wrong type.

    Its id is ``method-architecture-size-peft-accelerator[-slugs]-digest``. The digest covers the
    axes that are not at their ``omitted`` value, with ``digests`` in place of paths (`Cell.digests`
    of the cell): two machines with the files in different folders agree, and an axis that is added
    later changes no id.
    """
    named = {name: value for name, value in named_axes(axes) if name not in _PATHS}
    cell_id = f"{joined(axes)}-{digest({**dict(portable_axes(named)), **digests})[:8]}"
    return msgspec.convert({"id": cell_id, **axes, **digests}, Cell)


def as_teacher(cell: Cell) -> Cell:
    """The cell with its teacher's weights in place of the student's; itself where both have one
    shape.
    """
    if cell.teacher == SAME:
        return cell
    drawn = path_of("teacher", cell.teacher) is None
    return msgspec.structs.replace(
        cell,
        size=cell.teacher if drawn else "checkpoint",
        model=RANDOM if drawn else cell.teacher,
        model_digest=cell.teacher_digest,
    )
