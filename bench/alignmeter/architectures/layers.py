"""Which layers of a model a check keeps where the whole would take too long."""

__all__ = ["ATTENDING", "cut_places", "kept_layers"]

from collections.abc import Sequence

ATTENDING = "attn_layer_indices"
"""Field of a config with layers of two kinds: the places of those that attend."""


def kept_layers(attending: Sequence[int], layers: int) -> list[int]:
    """Places of the first ``layers``; where none of them attends, the first that does is the last.

    ``attending``: as the field `ATTENDING`; empty where all layers are alike.
    """
    kept = list(range(layers))
    if attending and min(attending) >= layers:
        kept[-1] = min(attending)
    return kept


def cut_places(attending: Sequence[int], layers: int) -> list[int]:
    """The field `ATTENDING` of the model that has only `kept_layers`."""
    kept = kept_layers(attending, layers)
    return [place for place, layer in enumerate(kept) if layer in attending]
