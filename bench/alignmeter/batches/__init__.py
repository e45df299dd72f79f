"""Batches: preference text or synthetic tokens, cut to the cell's fixed shape."""

__all__ = [
    "Batch",
    "BatchSource",
    "Pair",
    "data_digest",
    "open_batches",
    "read_preferences",
    "tokenizer_obstacle",
]

from alignmeter.batches.preferences import Pair, read_preferences
from alignmeter.batches.source import Batch, BatchSource, data_digest, open_batches
from alignmeter.batches.tokenizer import tokenizer_obstacle
