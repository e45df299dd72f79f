"""The page's script: files that are inlined one after the other, and the digest that lets them run.

Each file of ``script/`` holds functions and constants alone; the last one starts them. The page
reads the same without any of them.
"""

__all__ = ["policy", "script_text"]

import base64
import hashlib
from importlib import resources

_FILES = (
    "units", "elements", "tables", "columns", "copying", "navigation", "search", "choice", "pivot",
    "plots", "panel", "explore", "start",
)  # fmt: skip


def script_text() -> str:
    """All files in one function, so that nothing of them is global."""
    folder = resources.files(__package__).joinpath("script")
    texts = [folder.joinpath(f"{name}.js").read_text("utf-8") for name in _FILES]
    # The newline is that behind the tag: a browser digests everything between the two tags.
    return "\n".join(("", '"use strict";', "(function () {", *texts, "})();", ""))


def policy(script: str) -> str:
    """What the page may do: its own script and styles, and ask for nothing, whoever wrote in it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
