"""What the comparisons with TRL share: one bound for all, and a table of how close they came."""

import pytest
from trl_comparison import BOUND, errors_between

_APART = "apart_from_trl"


@pytest.fixture
def compare(record_property):
    """Asserts that (loss, gradients) of ours and of TRL's are one, and notes their errors."""

    def assert_alike(method, ours, theirs, **how):
        errors = errors_between(ours, theirs, **how)
        record_property(_APART, (method, errors.loss, errors.gradient))
        assert errors.loss <= BOUND, f"{ours[0].item()} is not {theirs[0].item()}: {errors}"
        assert errors.gradient <= BOUND, errors

    return assert_alike


def pytest_terminal_summary(terminalreporter):
    """The worst errors of each method over all that was compared."""
    found = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == _APART:
                found.setdefault(value[0], []).append(value[1:])
    if not found:
        return
    terminalreporter.section("worst relative errors against TRL")
    terminalreporter.line(f"{'method':<24}{'loss':>9}{'gradient':>10}{'compared':>10}")
    for method, errors in found.items():
        loss, gradient = (max(column) for column in zip(*errors, strict=True))
        terminalreporter.line(f"{method:<24}{loss:>9.1e}{gradient:>10.1e}{len(errors):>10}")
