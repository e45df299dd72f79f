"""A cell: one point of the matrix, frozen, with an id that names it everywhere."""

__all__ = ["Cell", "cell_id", "digest", "make_cell"]

import hashlib
import json
import re
from collections.abc import Mapping

import msgspec

from alignmeter.cells.axes import AXES, AxisValue

_SLUGS: dict[str, str] = {
    "model": "{}",
    "seq_len": "t{}",
    "prompt_len": "p{}",
    "batch": "b{}",
    "kernels": "{}",
    "precision": "{}",
    "optimizer": "{}",
    "lora_rank": "r{}",
    "quantiser": "{}",
    "ref": "ref-{}",
    "ppo_topology": "{}",
    "ppo_backward": "{}",
    "ppo_epochs": "e{}",
    "ppo_minibatches": "mb{}",
    "lane": "lane-{}",
}
_HEAD = ("method", "architecture", "size", "peft", "accelerator")


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every axis of the design, resolved: no ``auto`` and no default left open.

    ``data`` and ``model`` are paths as they were given; what identifies them is their digest.
    With a ``model``, ``size`` is ``checkpoint``.
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

    def axes(self) -> dict[str, AxisValue]:
        """Axis name -> value, without id and digests."""
        return {name: getattr(self, name) for name in AXES}


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of ``value``, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _slug(name: str, value: AxisValue) -> str:
    if name == "checkpointing":
        return "gc" if value == "on" else "gc-off"
    if name == "data":
        return "synthetic" if value == "synthetic" else "file"
    if name == "model":
        value = str(value).rstrip("/").rpartition("/")[2]
    text = _SLUGS[name].format(value).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text).strip("-")


def cell_id(
    axes: Mapping[str, AxisValue],
    defaults: Mapping[str, AxisValue],
    digests: Mapping[str, str],
) -> str:
    """``method-architecture-size-peft-accelerator[-slugs]-digest``.

    ``defaults`` holds the value that each axis would have had if the user had not named it; an
    axis that differs gets a slug. The digest covers all axes, with the digests of data and model in
    place of their paths, so that two machines with the files in different folders agree.
    """
    head = [str(axes[name]) for name in _HEAD]
    slugs = [
        _slug(name, axes[name])
        for name in AXES
        if name not in _HEAD and axes[name] != defaults[name]
    ]
    named = {name: value for name, value in axes.items() if name not in ("data", "model")}
    return "-".join([*head, *slugs, digest({**named, **digests})[:8]])


def make_cell(
    axes: Mapping[str, AxisValue],
    defaults: Mapping[str, AxisValue],
    digests: Mapping[str, str],
) -> Cell:
    """The cell of fully resolved ``axes``. Raises `msgspec.ValidationError` on a wrong type."""
    return msgspec.convert({"id": cell_id(axes, defaults, digests), **axes, **digests}, Cell)
