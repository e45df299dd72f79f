"""Models of one's own: a folder, a config.json or a hub id, and no code of theirs is run.

Weights are read from safetensors only. Where there is a config alone they are drawn.

All that can be known without reading weights is checked before a worker starts; the load itself
fails where it does not find what was checked.
"""

__all__ = [
    "RANDOM",
    "Checkpoint",
    "beyond_positions",
    "check_unchanged",
    "configs_alone",
    "find_checkpoint",
    "trained_positions",
    "without_dropout",
    "without_weights",
]

from alignmeter.architectures.checkpoint.config import (
    beyond_positions,
    trained_positions,
    without_dropout,
)
from alignmeter.architectures.checkpoint.found import (
    RANDOM,
    Checkpoint,
    check_unchanged,
    find_checkpoint,
    without_weights,
)
from alignmeter.architectures.checkpoint.place import configs_alone
