"""``python -m alignmeter.records.reasons_page`` prints `docs/reasons.md`."""

__all__ = ["markdown_page"]

import sys

from alignmeter.records.reasons import Code

_HEAD = """# Reason codes

Why is there no figure, or an invalid one, and what helps?
What a [record](records.md) gives as `code` beside a status that is not `ok`, a figure that is
missing, or a metric that is invalid. `text` beside it has the particulars. Made by
`python -m alignmeter.records.reasons_page`.
"""


def markdown_page() -> str:
    """`docs/reasons.md`: the table of all codes."""
    rows = [f"| `{code}` | {code.meaning} | {code.remedy} |" for code in Code]
    return "\n".join([_HEAD, "| code | meaning | what helps |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(markdown_page())
