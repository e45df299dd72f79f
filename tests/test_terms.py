"""One word for one thing, in every sentence a reader meets: docs/report.md has the terms."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEMPLATES = sorted((ROOT / "reports").rglob("*.j2"))
ROOMS = [ROOT / "bench" / "alignmeter" / room for room in ("cells", "cli", "plugin", "terminal")]
SOURCES = [path for room in [*ROOMS, ROOT / "reports"] for path in sorted(room.rglob("*.py"))]
HEADINGS = re.compile(r"^#+ .*$|<h[1-6].*?</h[1-6]>", re.MULTILINE)


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES, *SOURCES], ids=name_of)
def test_what_a_check_refutes_is_invalid_and_what_is_left_out_excluded(path):
    """Nothing is unranked: a metric is invalid, and a comparison excludes it."""
    text = " ".join(path.read_text().split())
    assert not re.search(r"(not|n't|never) (to )?(be )?ranked|may be ranked|\bspoils?\b", text)


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES], ids=name_of)
def test_headings_compare_with_versus(path):
    for heading in HEADINGS.findall(path.read_text()):
        assert not re.search(r"\b(against|beside)\b", heading, re.IGNORECASE), heading


def test_the_terms_are_explained():
    terms = (ROOT / "docs" / "report.md").read_text().partition("## Terms")[2]
    for term in ("reported", "invalid", "excluded", "versus"):
        assert f"| {term} |" in terms
