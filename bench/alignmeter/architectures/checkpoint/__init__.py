"""Real checkpoints: a folder or a hub id, safetensors only, no code from the checkpoint is run.

All that can be known without reading weights is checked before a worker starts; the load itself
fails where it does not find what was checked.
"""

__all__ = [
    "RANDOM",
    "Checkpoint",
    "beyond_positions",
    "check_unchanged",
    "find_checkpoint",
    "trained_positions",
    "without_dropout",
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
)
