"""The map in docs/rooms.md is that of today's imports, and small."""

import re
from pathlib import Path

import pytest
import rooms

PAGE = Path(__file__).parents[1] / "docs" / "rooms.md"


def test_the_map_is_of_today():
    """If this fails: python tests/trust/rooms.py > docs/rooms.md"""
    assert PAGE.read_text() == rooms.page()


def test_there_are_few_rooms_and_each_is_on_a_floor_above_what_it_imports():
    found = rooms.arrows()
    placed = rooms.floors(found)
    assert 20 < len(placed) <= rooms.MOST_ROOMS
    assert all(placed[room] > placed[other] for room in found for other in found[room])


def test_imports_that_go_round_have_no_floors():
    with pytest.raises(ValueError, match="cycle"):
        rooms.floors({"one": {"two"}, "two": {"one"}})


def test_the_map_for_contributors_names_the_rooms_that_there_are():
    """Each room of the package once."""
    text = (PAGE.parents[1] / "CONTRIBUTING.md").read_text()
    (drawn,) = re.findall(r"^```\n(cli/.*?)```", text, re.DOTALL | re.MULTILINE)
    heads = [line.partition("   ")[0] if "/" in line else line for line in drawn.splitlines()]
    named = [name for head in heads for name in re.findall(r"(\w+)(?:/|\.py)(?=\s|$)", head)]
    package = rooms.ROOT / "bench" / "alignmeter"
    there = {p.stem for p in package.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert sorted(named) == sorted(there - {"__init__", "__main__", "__pycache__"})
