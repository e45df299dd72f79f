"""Links from where a term first stands on a page to its entry in docs/glossary.md.

Made when the site is built, so that the pages read as they are written, and no page forgets one.
"""

__all__ = ["TERMS", "linked"]

import re

TERMS = {
    "agreement": "agreement",
    "axis": "axis|axes",
    "cell": "cells?",
    "joint-sequential": "`joint`|`sequential`",
    "kernel-path": "kernel paths?",
    "lane": "lanes?",
    "ledger": "ledgers?",
    "matrix": "matrix files?|quick matrix|packaged matrices",
    "node": "nodes?",
    "peak": "peaks?",
    "plan": "a plan|plans",
    "provenance": "provenance",
    "record": "records?",
    "reference": "references?",
    "ref_model": "ref_models?",
    "replicate": "replicates?",
    "rollout": "rollouts?",
    "round": "(?:each|one) round|rounds of",
    "shared-separate": "`shared`|`separate`",
    "t-p-b": "(?-i:T)",
    "trained-tokens": "trained tokens",
    "unattributed": "unattributed",
    "validity": "validity|invalid",
}
"""Anchor of its entry -> how it is written."""
_PROTECTED = (
    r"^```.*?^```|^ {4}[^\n]*|^#+ [^\n]*|^\|[- |:]+\|$"  # code, headings, a table's second line
    r"|!?\[[^\]]*\]\([^)]*\)|<[^>]+>|^:::[^\n]*"  # links, pictures, tags, what mkdocstrings fills
)


def linked(markdown: str, glossary: str = "glossary.md") -> str:
    """The page with a link at the first use of each term, in prose and tables."""
    for anchor, words in TERMS.items():
        markdown = _linked_once(markdown, f"{glossary}#{anchor}", words)
    return markdown


def _linked_once(markdown: str, entry: str, words: str) -> str:
    coded = words.split("|")[0].startswith("`")
    code = "" if coded else r"|`[^`\n]*`"
    bounds = r"(?<![\w`-])", r"(?![\w`-])"
    pattern = re.compile(
        rf"(?:{_PROTECTED}{code})|{bounds[0]}(?P<term>{words}){bounds[1]}",
        re.DOTALL | re.MULTILINE | re.IGNORECASE,
    )
    for found in pattern.finditer(markdown):
        if found["term"] is not None:
            link = f"[{found['term']}]({entry})"
            return markdown[: found.start()] + link + markdown[found.end() :]
    return markdown
