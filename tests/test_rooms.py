"""The map in docs/rooms.md is that of today's imports, and small."""

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
