"""One word for one thing, in every sentence a reader meets: CONTRIBUTING lists the terms."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]
TEMPLATES = sorted((ROOT / "reports").rglob("*.j2"))
SOURCES = [p for folder in ("bench", "reports") for p in sorted((ROOT / folder).rglob("*.py"))]
HEADINGS = re.compile(r"^#+ .*$|<h[1-6].*?</h[1-6]>", re.MULTILINE)
RETIRED = re.compile(
    r"\b(held against|spoil(s|ed|t)?|un-?ranked|(not|n't|never) (to )?(be )?ranked|may be ranked"
    r"|mend(s|ed)?|anew|lest|without a word|in silence|no prices were given|(is|are) of no use)\b",
    re.IGNORECASE,
)
"""What CONTRIBUTING lists under "not", where it means nothing else."""


def name_of(path):
    return str(path.relative_to(ROOT))


def sentences(path):
    """What a reader may meet: a page's text; of a module its strings and the help of commands."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [re.sub(r"```.*?```", "", text, flags=re.DOTALL)]
    tree = ast.parse(text)
    about = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    helped = [
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("click" in ast.unparse(d) for d in node.decorator_list)
        and isinstance(node.body[0], ast.Expr)
    ]
    hidden = {id(node) for node in about} - {id(node) for node in helped}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden
    ]


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES, *SOURCES], ids=name_of)
def test_no_sentence_has_a_retired_term(path):
    for text in sentences(path):
        found = RETIRED.search(" ".join(text.split()))
        assert found is None, f"{found[0]!r} in: {text[:200]}"


def test_help_and_errors_are_among_what_is_read():
    """A test that reads nothing could not fail."""
    run = sentences(ROOT / "bench" / "alignmeter" / "cli" / "run.py")
    assert any("Ctrl-C stops" in text for text in run)
    assert not any("`alignmeter run`: a whole matrix" in text for text in run)
    assert RETIRED.search("two cells, held against each other")


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES], ids=name_of)
def test_headings_compare_with_versus(path):
    for heading in HEADINGS.findall(path.read_text()):
        assert not re.search(r"\b(against|beside)\b", heading, re.IGNORECASE), heading


def test_the_terms_are_explained():
    terms = (ROOT / "docs" / "report.md").read_text().partition("## Terms")[2]
    for term in ("reported", "invalid", "excluded", "versus"):
        assert f"| {term} |" in terms
    words = (ROOT / "CONTRIBUTING.md").read_text().partition("## Words")[2].partition("\n## ")[0]
    for term in ("versus", "reported", "invalid", "excluded", "no prices given", "silently"):
        assert re.search(rf"^\| {term}", words, re.MULTILINE), term
