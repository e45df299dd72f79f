"""Checkpoints of the tiny size's vocabulary and depth, twice as wide: teachers to distill from."""

__all__ = ["save_wide"]

from pathlib import Path

from torch import nn

from alignmeter.architectures import open_architecture
from alignmeter.streams import quiet

_WIDE = {
    "llama": ("hidden_size", "intermediate_size"),
    "mamba": ("hidden_size", "time_step_rank"),
    "mamba2": ("hidden_size", "num_heads"),
    "hybrid": ("hidden_size", "intermediate_size", "mamba_n_heads"),
}
"""Architecture -> keys of its config that double with the width."""


def save_wide(folder: Path, architecture: str) -> Path:
    """``folder``, with the tiny shape of that architecture at twice its width, in fp32."""
    family = open_architecture(architecture)
    shape = dict(family.shape("tiny"))
    shape |= {key: 2 * shape[key] for key in _WIDE[architecture]}
    model: nn.Module = family.make(shape)
    with quiet():
        model.save_pretrained(folder)  # type: ignore[operator]
    return folder
