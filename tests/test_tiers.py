"""Each test runs in one tier: every time, in ``full`` or in ``exhaustive``."""

from pathlib import Path

import pytest

TESTS = """
import pytest

def test_quick(): pass

@pytest.mark.full
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
def test_long(n): pass

@pytest.mark.exhaustive
def test_longest(): pass
"""


@pytest.mark.parametrize(
    ("marks", "ran"),
    [
        ("", ["test_quick"]),
        ("full and not exhaustive", ["test_long[1]"]),
        ("full", ["test_long[1]"]),
        ("exhaustive", ["test_long[2]", "test_longest"]),
        ("full or exhaustive", ["test_long[1]", "test_long[2]", "test_longest"]),
    ],
)
def test_a_combination_of_a_long_test_is_of_the_longer_tier(pytester, marks, ran):
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n  full\n  exhaustive\n")
    pytester.makepyfile(TESTS)
    result = pytester.inline_run("-p", "no:cacheprovider", "-m", marks)
    passed, _, failed = result.listoutcomes()
    assert [report.nodeid.partition("::")[2] for report in passed] == ran
    assert failed == []
