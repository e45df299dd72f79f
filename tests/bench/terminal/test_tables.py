"""Tables and paragraphs: what fits, what is right-aligned, and that nothing is cut or believed."""

import os
import pty
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from alignmeter.terminal.tables import (
    WIDTH,
    Column,
    Grid,
    Paragraph,
    Row,
    fields,
    figure,
    label,
    lines,
)

TEXTS = st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=60)
"""No spaces, which wrapping may drop, and no marks, whose width depends on their neighbours."""


def characters(texts):
    return Counter("".join(texts).replace(" ", ""))


@given(
    names=st.lists(TEXTS, min_size=4, max_size=4),
    rows=st.lists(st.lists(TEXTS, min_size=4, max_size=4), max_size=4),
    title=TEXTS,
    width=st.integers(40, 140),
)
def test_every_character_is_there_once_and_no_line_is_too_long(names, rows, title, width):
    columns = [label(names[0]), Column(names[1]), figure(names[2]), Column(names[3])]
    grid = Grid(columns, [Paragraph(title), *map(Row, rows)], indent=2)
    found = lines([grid], width)
    assert max(map(cell_len, found)) <= width
    assert characters(found) == characters([*names, title, *(text for row in rows for text in row)])


PEAKS = Column("cell"), figure("peak")


def test_figures_end_where_their_head_ends():
    found = lines([Grid(PEAKS, [Row(("a", "9 MiB")), Row(("b", "64 B"))])])
    assert found == ["cell   peak", "a     9 MiB", "b      64 B"]


def test_columns_move_together_and_then_texts_give_way_before_figures():
    """40 columns have room for 33 and 5 with two between them, or for 34 with one."""
    text = "word word word word word word and"
    assert lines([Grid(PEAKS, [Row((text, "9 MiB"))])], 40)[1] == f"{text}  9 MiB"
    assert lines([Grid(PEAKS, [Row((f"{text}s", "9 MiB"))])], 40)[1] == f"{text}s 9 MiB"
    assert lines([Grid(PEAKS, [Row((f"{text}s more", "9 MiB"))])], 40)[1:] == [
        f"{text}s 9 MiB",
        "more",
    ]


def test_what_stands_between_rows_spans_the_table_and_its_columns_stay_in_line():
    title, note = Paragraph("a title that is longer than the columns"), Paragraph("a note")
    rows = [title, Row(("a", "1")), note, Row(("bcd", "23456"))]
    assert lines([Grid((label("k"), figure("n")), rows, indent=2)]) == [
        "  k        n",
        "a title that is longer than the columns",
        "  a        1",
        "a note",
        "  bcd  23456",
    ]


def test_lines_after_the_first_hang_and_held_words_stay_together():
    held = "MI300X\N{NO-BREAK SPACE}+22\N{NO-BREAK SPACE}GiB"
    assert lines([Paragraph(f"it fits the chips H100 and {held}", indent=2, hang=2)], 40) == [
        "  it fits the chips H100 and",
        "    MI300X +22 GiB",
    ]
    assert lines([Paragraph("", indent=2)]) == [""]
    assert lines([fields([("not read", "a"), ("not read", "b"), ("now", "c")], indent=1)]) == [
        " not read a",
        "          b",
        " now      c",
    ]


def test_long_texts_stay_readable_on_a_wide_terminal():
    assert max(map(len, lines([Paragraph("word " * 60)], 300))) <= 100


@pytest.mark.parametrize("part", [
    Paragraph("[red]x[/red]\x1b[31m\r\nnext\u202e"),
    Grid([Column("[b]a head of this length[/b]")], [Row(("[red]x[/red]\x1b[31m\r\nnext\u202e",))]),
])  # fmt: skip
def test_markup_is_text_and_control_characters_are_spaces(part):
    found = lines([part])
    assert all(line.isprintable() for line in found)
    assert "[red]x[/red] [31m  next" in " ".join(found)


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_no_color_and_plain_lines_have_no_colours(colours, monkeypatch):
    parts = [Paragraph("worse", "bold red"), Grid([label("a")], [Row(("b",), style="green")])]
    assert "\x1b[1;31mworse" in lines(parts, styled=True)[0]
    assert "\x1b" not in "".join(lines(parts))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in "".join(lines(parts))
    monkeypatch.setenv("NO_COLOR", "1")
    codes = "".join(lines(parts, styled=True))
    assert not [code for code in ("31m", "32m", ";31", ";32") if code in codes]


PRINTS = (
    "from alignmeter.terminal.tables import *; "
    "print_parts([Paragraph('word ' * 30, 'red'), "
    "Grid([label(), Column('')], [Row(('a', 'b' * 70)), Row(('c' * 40, 'd'))])])"
)


def environment(**changes):
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return {**inherited, "TERM": "xterm", **changes}


def test_a_pipe_gets_80_columns_and_no_codes_whatever_the_terminal_has():
    done = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, text=True,
                          check=True, env=environment(COLUMNS="140"))  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) == WIDTH == 80
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("columns", "longest"), [("80", 80), ("140", 112)])
def test_a_terminal_gets_what_it_has_room_for(columns, longest):
    """40 + 2 + 70 columns are what the table takes where there is room for them."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", PRINTS], stdout=theirs, check=True,
                   env=environment(COLUMNS=columns, NO_COLOR="1"))  # fmt: skip
    os.close(theirs)
    text = b""
    while not text.endswith(b"d\r\n"):
        text += os.read(ours, 4096)
    os.close(ours)
    assert max(map(len, text.decode().split("\r\n"))) == longest
    assert b"\x1b[" not in text


def test_a_word_of_wide_characters_is_folded_by_its_columns():
    found = lines([Grid([Column("device"), figure("n")], [Row(("\u6f22" * 60, "1"))])])
    assert max(map(cell_len, found)) <= 80
    assert "".join(found).count("\u6f22") == 60
