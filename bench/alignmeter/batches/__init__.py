"""Batches: preference text or drawn tokens, cut to the cell's shape or at lengths of their own."""

__all__ = [
    "Batch",
    "BatchRows",
    "BatchSource",
    "Pair",
    "SharedRows",
    "Where",
    "check_rows",
    "data_counts",
    "data_digest",
    "data_note",
    "open_batches",
    "read_preferences",
    "share_rows",
    "tokenizer_obstacle",
]

from alignmeter.batches.batch import Batch, BatchRows
from alignmeter.batches.dataset import data_note
from alignmeter.batches.preferences import Pair, read_preferences
from alignmeter.batches.selection import SharedRows, check_rows, data_counts, share_rows
from alignmeter.batches.source import BatchSource, data_digest, open_batches
from alignmeter.batches.spans import Where
from alignmeter.batches.tokenizer import tokenizer_obstacle
