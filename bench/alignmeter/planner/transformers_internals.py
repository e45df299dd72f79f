"""The private names of transformers that this project takes: all of them, and here alone.

`tests/bench/planner/test_transformers_internals.py` says which one a release has changed.
"""

__all__ = ["one_sequence_per_row"]

import contextlib
from collections.abc import Iterator
from importlib import import_module

_FINDS_SEQUENCES = "find_packed_sequence_indices"


@contextlib.contextmanager
def one_sequence_per_row() -> Iterator[None]:
    """Within the context transformers takes each row of ids for one sequence.

    It looks at position ids for several sequences in a row; ours never have them. On fake tensors
    it cannot look, and would keep a mask of all pairs of tokens.
    """
    masking = import_module("transformers.masking_utils")
    finds = getattr(masking, _FINDS_SEQUENCES, None)
    if finds is None:  # a version that does not look
        yield
        return
    setattr(masking, _FINDS_SEQUENCES, _none_found)
    try:
        yield
    finally:
        setattr(masking, _FINDS_SEQUENCES, finds)


def _none_found(*_: object, **__: object) -> None:
    """One sequence per row."""
