"""The site of docs/: its pages, what they open with, its links and its glossary."""

import configparser
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from glossary_links import TERMS, linked
from site_pages import ORIGINS, outside, sited

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
MADE = {*ORIGINS, "cli.md", "api.md"}
WRITTEN = sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def pages(part):
    """Every page below that part of the navigation."""
    if isinstance(part, str):
        return [part]
    parts = part.values() if isinstance(part, dict) else part
    return [page for inner in parts for page in pages(inner)]


def test_each_page_stands_once_in_the_navigation():
    assert sorted(pages(SETTINGS["nav"])) == sorted([*WRITTEN, *MADE])


@pytest.mark.parametrize("page", WRITTEN)
def test_a_page_opens_with_the_question_that_it_answers(page):
    title, opening, *_ = (DOCS / page).read_text().split("\n\n")
    assert title.startswith("# ")
    assert "?" in title + opening


@pytest.mark.parametrize("page", [*WRITTEN, *ORIGINS])
def test_links_lead_to_pages_of_the_site(page):
    """Those of files outside docs/ too, which on GitHub lead to the files themselves."""
    text = (ROOT / ORIGINS.get(page, f"docs/{page}")).read_text()
    assert "../" not in re.sub(r"`[^`]*`|```.*?```", "", sited(text, page), flags=re.DOTALL)


def test_a_link_to_what_the_site_lacks_is_an_error():
    assert (
        sited("[x](../CONTRIBUTING.md#a-new-kernel)", "plan.md")
        == "[x](contributing.md#a-new-kernel)"
    )
    with pytest.raises(ValueError, match=re.escape("plan.md: the site has no page for ../tox.ini")):
        sited("[x](../tox.ini)", "plan.md")


def test_its_environment_has_all_that_the_command_line_imports():
    """It is installed without the package, whose requirements hold torch."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini")
    script = "import sys, alignmeter.cli; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", script]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    owners = packages_distributions()
    needed = {_named(owner) for name in loaded for owner in owners.get(name, ())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {_named(line) for line in project["dependencies"]}
    installed = {_named(line) for line in settings["testenv:docs"]["deps"].split("\n") if line}
    assert "click" in needed & required
    assert needed & required <= installed


def _named(requirement):
    """The distribution's own name of a requirement, in one spelling."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_what_would_be_fetched_from_elsewhere_is_found():
    assert outside('<a href="https://x.org">x</a><script src="assets/x.js"></script>') == []
    assert len(outside('<script async src="https://x.org/a.js"></script>')) == 1
    assert len(outside('<link href="//x.org/a.css" rel="stylesheet">')) == 1


def test_every_term_has_an_entry():
    heads = re.findall("^## (.+)$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(TERMS) <= anchors
    assert heads == sorted(heads, key=str.lower)


@pytest.mark.parametrize("page", [p for p in WRITTEN if p != "glossary.md"])
def test_a_page_links_each_term_where_it_first_uses_it(page):
    before = (DOCS / page).read_text()
    after = linked(before)
    links = re.findall(r"\[[^\]]+\]\(glossary\.md#([\w-]+)\)", after)
    assert len(links) == len(set(links))
    assert links or page == "sizes.md"  # a table of figures
    assert re.sub(r"\[([^\]]+)\]\(glossary\.md#[\w-]+\)", r"\1", after) == before


def test_a_term_is_linked_in_prose_alone():
    text = "# A cell\n\n`cell` [a cell](x.md)\n```\ncell\n```\nSubcells, cells and a cell.\n"
    head, _, end = text.rpartition("cells and")
    assert linked(text) == f"{head}[cells](glossary.md#cell) and{end}"
