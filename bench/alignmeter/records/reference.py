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
from alignmeter.cells.names import named_axes
from alignmeter.records.document import decode_versioned

SCHEMA_VERSION = 1
Signals = dict[str, list[float]]
"""Name -> its value in each agreement step: ``loss``, ``grad_norm`` and the method's metrics."""

_NO_EFFECT = (
    "accelerator", "kernels", "precision", "checkpointing", "deterministic", "optimizer", "ref",
    "ppo_backward", "lane", "data", "model",
)  # fmt: skip
"""Axes of a cell that change how a loss is computed but not what it is, and paths."""
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``rollouts``: the response tokens [2B, N] of each agreement step, for PPO to replay.

    ``layers``: the backbones were cut to that many (``None``: whole).
    """

    signals: Signals
    rollouts: list[list[list[int]]] = []
    layers: int | None = None


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
) -> str:
    """What identifies a reference: all that decides a loss, and the libraries that draw weights.

    Axes at their ``omitted`` value do not enter, so that one more axis leaves the keys as they are.

    ``rounded``: the weights are those of a cell that stores them in bf16. Random weights are a
    library's: another minor version may draw others from the same seed.
    """
    fields: dict[str, AxisValue] = {
        name: value for name, value in named_axes(cell.axes()) if name not in _NO_EFFECT
    }
    fields |= {"data_digest": cell.data_digest, "model_digest": cell.model_digest}
    return digest([fields, dict(hyperparameters), seed, layers, rounded, _library_versions()])


@cache
def _library_versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            major, minor = metadata.version(package).split(".")[:2]
        except metadata.PackageNotFoundError:
            continue
        found[package] = f"{major}.{minor}"
    return found


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
