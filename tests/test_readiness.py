"""docs/gpu-readiness.md is today's, and each test that it names is there."""

from pathlib import Path

import readiness


def test_every_test_that_it_names_is_there():
    assert readiness.missing_tests() == []


def test_the_page_is_made_from_the_table():
    """If this fails: python tests/trust/readiness.py > docs/gpu-readiness.md"""
    page = Path(__file__).parents[1] / "docs" / "gpu-readiness.md"
    assert page.read_text() == readiness.page()


def test_a_level_is_one_that_is_explained():
    levels = {level for row in readiness.ROWS for level, *_ in row.shown.values()}
    assert levels == {*readiness.LEVELS}
