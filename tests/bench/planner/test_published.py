"""Plans beside what others measured on real GPUs: docs/plan-vs-published.md and its bounds."""

import statistics
import tomllib
from pathlib import Path

import published
import pytest

from alignmeter.analysis.chips import peaks

DOCUMENT = tomllib.loads(published.ROWS.read_text())
PAGE = Path(__file__).parents[3] / "docs" / "plan-vs-published.md"


def test_every_row_says_what_it_is_of():
    """A row is planned, or says why not; its chip, its source and its model are known."""
    for row in DOCUMENT["row"]:
        assert ("axes" in row) != ("cannot" in row)
        assert row["source"] in DOCUMENT["source"]
        assert row["kind"] in ("allocated", "active", "reserved", "not stated")
        assert row.get("model") in {*DOCUMENT["model"], None}
        assert "cannot" in row or row["chip"] in peaks()
        assert "note" in row or not row.get("open")


def test_the_page_has_every_row():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| [")]
    assert len(lines) == len(DOCUMENT["row"])
    for line, row in zip(lines, DOCUMENT["row"], strict=True):
        assert row["said"] in line
        assert f"{row['peak_bytes'] / 1e9:.1f} GB" in line


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_plans_are_near_and_the_page_is_todays():
    rows = list(published.compared(DOCUMENT))
    errors = [abs(row.error_percent) for row in rows if row.counts]
    assert statistics.median(errors) <= 4
    assert max(errors) <= 8
    assert "\n".join(published.page(rows)) + "\n" == PAGE.read_text()
