"""The map of the rooms, from the imports: ``python tests/trust/rooms.py > docs/rooms.md``.

A room is a folder or a module directly in `alignmeter`, or another package. Every import counts,
those inside functions too. A room stands one floor above the highest room that it imports, so an
arrow that ran back up would make a circle; there is none.
"""

__all__ = ["arrows", "floors", "page"]

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
MOST_ROOMS = 33
_PACKAGES = {
    "alignmeter": "bench",
    "alignmeter_kernels": "kernels",
    "alignmeter_reports": "reports",
}
_SUITES = "suites"
Arrows = Mapping[str, set[str]]


def _room(module: str) -> str:
    """``alignmeter.session.findings.bands`` is in ``session``; other packages are one room each."""
    package, _, inside = module.partition(".")
    return inside.partition(".")[0] or package if package == "alignmeter" else package


def arrows() -> Arrows:
    """Room -> the rooms that it imports."""
    graph = grimp.build_graph(*_PACKAGES, cache_dir=None)
    found: dict[str, set[str]] = {_SUITES: set()}
    for module in graph.modules:
        room = _room(module)
        if room == "alignmeter":  # the package itself says its version and imports nothing
            continue
        others = {_room(other) for other in graph.find_modules_directly_imported_by(module)}
        found.setdefault(room, set()).update(others - {room, "alignmeter"})
    for path in (ROOT / _SUITES).glob("*.py"):
        found[_SUITES] |= {_room(name) for name in _imported(path)}
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.partition(".")[0] in _PACKAGES)


def floors(found: Arrows) -> dict[str, int]:
    """Room -> its floor, 0 on the ground. Raises `graphlib.CycleError` where imports go round."""
    placed: dict[str, int] = {}
    for room in TopologicalSorter(found).static_order():
        placed[room] = max((placed[other] + 1 for other in found[room]), default=0)
    return placed


def _sentence(room: str) -> str:
    """The first sentence of its docstring, or of its README."""
    if room == _SUITES:
        return "pytest-benchmark suites: tables of cells, nothing else."
    folder = ROOT / _PACKAGES.get(room, "bench") / (room if room in _PACKAGES else "alignmeter")
    folder = folder if room in _PACKAGES else folder / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def _without_detours(found: Arrows) -> Arrows:
    """Only the arrows that no longer way through other rooms makes plain."""

    def reach(room: str) -> set[str]:
        return found[room] | {far for other in found[room] for far in reach(other)}

    return {
        room: others - {far for other in others for far in reach(other)}
        for room, others in found.items()
    }


def page() -> str:
    """docs/rooms.md."""
    found = arrows()
    placed = floors(found)
    ordered = sorted(placed, key=lambda room: (-placed[room], room))
    short, count = _without_detours(found), sum(map(len, found.values()))
    lines = [
        "# Rooms",
        "",
        "Which part of the package may import which?",
        "Made by `python tests/trust/rooms.py` from the imports; a test holds that it is today's.",
        f"{len(placed)} rooms, {count} arrows, none of them back up. A room imports only rooms on",
        "lower floors; the picture leaves out arrows that a longer way makes plain.",
        "",
        "```mermaid",
        "graph BT",
        *(f"  {other} --> {room}" for room in ordered for other in sorted(short[room])),
        "```",
        "",
        "| floor | room | what it is | imports |",
        "|---:|---|---|---|",
        *(
            f"| {placed[room]} | `{room}` | {_sentence(room)} "
            f"| {', '.join(sorted(found[room])) or '-'} |"
            for room in ordered
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
