"""Canary: what a release of transformers may change without a word."""

import transformers
from transformers import masking_utils

from alignmeter.planner.transformers_internals import one_sequence_per_row

NAME = "find_packed_sequence_indices"


def test_transformers_looks_for_several_sequences_in_a_row_by_this_name():
    """5.17 to 5.24 do. Under another name plans would keep a mask of all pairs of tokens."""
    assert hasattr(masking_utils, NAME), (
        f"transformers {transformers.__version__} has no masking_utils.{NAME}; "
        "see planner/transformers_internals.py"
    )
    before = getattr(masking_utils, NAME)
    with one_sequence_per_row():
        assert getattr(masking_utils, NAME)(position_ids=None) is None
    assert getattr(masking_utils, NAME) is before


def test_a_version_that_does_not_look_is_left_alone(monkeypatch):
    monkeypatch.delattr(masking_utils, NAME)
    with one_sequence_per_row():
        assert not hasattr(masking_utils, NAME)
    assert not hasattr(masking_utils, NAME)
