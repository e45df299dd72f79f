"""Reference losses: what a cell's first steps give in fp32 on a CPU with stock operators."""

__all__ = [
    "SCHEMA_VERSION",
    "Reference",
    "References",
    "Signals",
    "cached_references",
    "decode_references",
    "packaged_references",
    "reference_key",
]

from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from alignmeter.cells.axes import AxisValue
from alignmeter.cells.cell import Cell, digest
from alignmeter.cells.names import named_axes, portable_axes
from alignmeter.records.document import decode_versioned
from alignmeter.registry import OPTIMIZERS, PEFT_MODES, row_of

SCHEMA_VERSION = 1
Signals = dict[str, list[float]]
"""Name -> its value in each agreement step: ``loss``, ``grad_norm`` and the method's metrics."""

_NO_EFFECT = (
    "accelerator", "kernels", "precision", "checkpointing", "deterministic",
    "loss_head", "microbatches", "optimizer_impl", "ref", "ppo_backward", "rollout", "lane",
    "world_size", "parallel", "rollout_weights", "data", "columns", "model",
)  # fmt: skip
"""Axes of a cell that change how a loss is computed but not what it is, and paths."""
_LIBRARIES = ("torch", "transformers")
_SERVED = {
    "torch": ("2.11", "2.13"),
    "transformers": ("5.17", "5.18", "5.19", "5.20", "5.21", "5.22", "5.23", "5.24"),
    "peft": ("0.18", "0.19", "0.20", "0.21"),
    "bitsandbytes": ("0.50",),
}
"""Package -> minor versions that the packaged references serve.

From one seed they draw the same weights, and what they compute of them differs by rounding, far
within the bands: ``python tests/trust/references.py --check`` in an environment that has them. The
80 references were made with the pinned versions, and compared with all that torch 2.11 and
transformers 5.17 compute: at most 0.015 of a band apart. Of other versions one of each architecture
and PEFT mode was compared, all else as in that pair.
"""
_PACKAGED = "packaged"


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``rollouts``: the response tokens [2B, N] of each agreement step, for PPO to replay.

    ``layers``: the backbones were cut to that many (``None``: whole). ``silent_adapters``: those
    that the first step gave no gradient, as `Observed` names them (``None``: nobody looked).
    """

    signals: Signals
    rollouts: list[list[list[int]]] = []
    layers: int | None = None
    silent_adapters: list[str] | None = None


class References(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The packaged file. ``references``: `reference_key` -> reference."""

    schema_version: int
    references: dict[str, Reference]


_DECODER = msgspec.json.Decoder(References)


def reference_key(
    cell: Cell,
    hyperparameters: Mapping[str, float | int | str],
    *,
    seed: int,
    layers: int | None,
    rounded: bool,
    packaged: bool = False,
) -> str:
    """What identifies a reference: all that decides a loss, and the libraries that draw weights.

    Axes at their ``omitted`` value do not enter, so that one more axis leaves the keys as they are.

    ``rounded``: the weights are those of a cell that stores them in bf16. ``packaged``: the key of
    the packaged one, whatever is installed. Random weights are a library's: another minor version
    may draw others from the same seed, and only those that were tried share a key.
    """
    named = {n: value for n, value in named_axes(cell.axes()) if n not in _NO_EFFECT}
    fields: dict[str, AxisValue] = {**dict(portable_axes(named)), **cell.digests()}
    rows = row_of(PEFT_MODES, cell.peft), row_of(OPTIMIZERS, cell.optimizer)
    libraries = (*_LIBRARIES, *(name for row in rows for name in row.libraries))
    versions = {name: _PACKAGED if packaged else _version(name) for name in libraries}
    return digest([fields, dict(hyperparameters), seed, layers, rounded, versions])


@cache
def _version(package: str) -> str:
    """Its minor version, or that it is one which the packaged references serve."""
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
    minor = ".".join(version.split(".")[:2])
    return _PACKAGED if minor in _SERVED.get(package, ()) else minor


@cache
def packaged_references() -> Mapping[str, Reference]:
    """Key -> reference of the tiny cells of the packaged matrices."""
    data = (resources.files("alignmeter.records") / "references.json").read_bytes()
    return decode_references(data, "references.json").references


def decode_references(data: bytes, where: str) -> References:
    """Parse and check the packaged file. Raises `InputError` naming ``where`` and the field."""
    return decode_versioned(data, _DECODER, SCHEMA_VERSION, where, "the packaged references")


def cached_references() -> Path:
    """Folder of the references computed on this machine, one file ``<key>.json`` each."""
    return user_cache_path("alignmeter", appauthor=False) / "references"
