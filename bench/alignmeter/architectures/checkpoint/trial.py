"""Whether the model of a config.json runs: one pass of one layer of each kind, without data."""

__all__ = ["check_runs"]

from pathlib import Path
from typing import Any

import torch

from alignmeter.architectures.checkpoint.config import made, open_config
from alignmeter.architectures.checkpoint.refusal import one_line, refused
from alignmeter.architectures.transformers_internals import one_sequence_per_row
from alignmeter.streams import quiet

_TOKENS = 4


def check_runs(folder: Path, model: str) -> None:
    """Raise `InputError` for a config whose model stumbles in its first pass.

    Fields that pass one by one may not fit together: layers of a kind that the family does not
    have, a window that is not set. Shapes say so on torch's meta device, whatever the width, in
    milliseconds. Of rotary positions `check_positions` speaks.
    """
    kinds = vars(open_config(folder)).get("layer_types")
    config = open_config(folder, layers=len(set(kinds)) if kinds else 1)
    if kinds:
        config.layer_types = [*dict.fromkeys(kinds)]
    if getattr(config, "rope_parameters", None):  # others read positions, which have no data here
        config.rope_parameters = {"rope_type": "default", "rope_theta": 1e4}
    try:
        with quiet(), torch.device("meta"), one_sequence_per_row():
            ids = torch.zeros(1, _TOKENS, dtype=torch.long)
            backbone: Any = made(config).train().base_model
            backbone(input_ids=ids, use_cache=False)
    except Exception as error:  # whatever a config can make transformers and torch stumble over
        raise refused(
            model, f"config.json makes a model that does not run: {one_line(error)}"
        ) from error
