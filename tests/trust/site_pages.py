"""The hook of mkdocs.yml: pages that docs/ does not hold, links out of docs/, and what is refused.

On GitHub a page links to the file it means, ``../CONTRIBUTING.md``; the site has each such file as
a page of its own, to which the link is turned here. One to a file that the site lacks is an error.
"""

__all__ = ["ORIGINS", "on_files", "on_page_markdown", "on_post_page", "outside", "sited"]

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glossary_links import linked

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_KERNELS = "kernels/alignmeter_kernels"
ORIGINS = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"kernel-{path.parent.name}.md": f"{_KERNELS}/{path.parent.name}/README.md"
        for path in sorted((ROOT / _KERNELS).glob("*/README.md"))
    },
}
"""Page of the site -> the file that it shows, from the project's root."""
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'>\s]*"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon))"""
    r"""[^>]*\bhref=["']?(?:https?:)?//[^"'>\s]*"""
)
"""What a browser would fetch from elsewhere while it shows a page."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for place, text in _made():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links lead to the site's own pages; a term leads to the glossary where it first stands."""
    place = page.file.src_uri
    text = sited(markdown, place)
    if place.startswith(
        ("kernel-", "changelog", "glossary")
    ):  # letters of their own; a list of all
        return text
    return linked(text, posixpath.relpath("glossary.md", posixpath.dirname(place) or "."))


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Raises an error for a page that would ask a network for something."""
    from mkdocs.exceptions import PluginError

    found = outside(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: would be fetched from elsewhere: {found[0]}")
    return output


def outside(html: str) -> list[str]:
    """Elements that a browser would fetch from elsewhere."""
    return _LOADED.findall(html)


def sited(markdown: str, place: str) -> str:
    """The page with links as the site has them. Raises `ValueError` for one that it lacks."""
    folder = posixpath.dirname(ORIGINS.get(place, f"docs/{place}"))

    def turned(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        page = _page_of(path)
        if page is None:
            raise ValueError(f"{place}: the site has no page for {target}")
        return f"]({posixpath.relpath(page, posixpath.dirname(place) or '.')}{anchor})"

    return _LINK.sub(turned, markdown)


def _page_of(path: str) -> str | None:
    if path.startswith("docs/"):
        return path.removeprefix("docs/") if (ROOT / path).is_file() else None
    return next((place for place, origin in ORIGINS.items() if origin == path), None)


def _made() -> Iterator[tuple[str, str]]:
    for place, origin in ORIGINS.items():
        yield place, (ROOT / origin).read_text(encoding="utf-8")
    yield "cli.md", _command_line()
    yield "api.md", _python()


def _command_line() -> str:
    """Every command's own help, at 80 columns."""
    import click

    from alignmeter.cli import cli

    outer = click.Context(cli, info_name="alignmeter", terminal_width=80, **cli.context_settings)
    parts = [
        "# Command line",
        "Which commands are there, and what does each option do? This is what `--help` prints.",
        _help(outer),
    ]
    for name, command in cli.commands.items():
        within = click.Context(command, outer, info_name=name)
        parts += [f"## alignmeter {name}", _help(within)]
        for below, one in getattr(command, "commands", {}).items():
            parts += [f"## alignmeter {name} {below}", _help(click.Context(one, within, below))]
    return "\n\n".join(parts) + "\n"


def _help(context: Any) -> str:
    return f"```text\n{context.command.get_help(context)}\n```"


def _python() -> str:
    """Each public name of the package, from where it is written."""
    import alignmeter

    names = [name for name in alignmeter.__all__ if not name.startswith("_")]
    blocks = [f"::: {alignmeter._PLACES[name]}.{name}" for name in sorted(names, key=_order)]
    head = "What does each function take, return and raise? [In Python](python.md) has examples."
    return "\n\n".join(["# Every function", head, *blocks]) + "\n"


def _order(name: str) -> tuple[bool, str]:
    """Functions before classes."""
    return not name[0].islower(), name
