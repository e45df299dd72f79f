"""Words for people: every shape of text, a plural, a cut, a list and a paragraph."""

import pytest

from alignmeter.text import counted, encodable, listed, plain, sentence, shortened, wrapped

NO_BREAK = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dpo-llama", "dpo-llama"),
        ("größer, 日本", "größer, 日本"),  # letters of any script are printable
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),  # no escape reaches a terminal
        ("\N{RIGHT-TO-LEFT OVERRIDE}abc", " abc"),
        (f"5{NO_BREAK}%", "5 %"),
    ],
)
def test_plain_text_is_printable_and_on_one_line(text, shown):
    assert plain(text) == shown


def test_plain_text_has_an_end():
    assert plain("x" * 400) == "x" * 400
    assert plain("x" * 401) == "x" * 397 + "..."
    assert len(plain("\n" * 10**6)) == 400


def test_a_count_of_one_is_singular():
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
    assert [counted(n, "try", "tries") for n in (0, 1, 2)] == ["0 tries", "1 try", "2 tries"]


def test_a_shortened_text_says_that_it_was():
    assert shortened("abcde", 5) == "abcde"
    assert shortened("abcdef", 5) == "ab..."


def test_a_list_says_how_many_it_leaves_out():
    assert listed(["a", "b"], 2) == ["a", "b"]
    assert listed(["a", "b", "c", "d"], 2) == ["a", "b", "and 2 more"]
    assert listed(["a", "b", "c"], 2, "line") == ["a", "b", "and 1 more line"]
    assert listed(["a", "b", "c", "d"], 2, "line") == ["a", "b", "and 2 more lines"]
    assert listed([], 2) == []


def test_wrapped_lines_stand_below_the_end_of_their_head():
    assert wrapped("one two three four", 14, "  why: ") == [
        "  why: one two",
        "       three",
        "       four",
    ]
    assert wrapped("one two three", 9, "- ", hang=2) == ["- one two", "    three"]
    assert wrapped("", 14, "  why: ") == []


def test_wrapping_keeps_ids_and_glued_words_whole():
    assert wrapped("cell dpo-llama-tiny", 16) == ["cell", "dpo-llama-tiny"]
    assert wrapped(f"grew by 5{NO_BREAK}% or so", 9) == ["grew by", "5 % or so"]
    assert wrapped("grew by 5 % or so", 9) == ["grew by 5", "% or so"]


def test_a_sentence_has_300_characters_that_can_be_seen_and_keeps_its_end():
    assert sentence("a\nb\x1b[31m \N{RIGHT-TO-LEFT OVERRIDE}c \udcff") == (
        r"a\nb\x1b[31m \u202ec \udcff"
    )
    path, long = "/a" * 100, "x" * 5000
    assert sentence(f"{path}: cannot be read") == f"{path}: cannot be read"
    said = sentence(f"--method: {long!r} is not a value of method; known: sft, rm, dpo, ppo")
    assert said.startswith("--method: 'xxx")
    assert "xxx...xxx" in said
    assert said.endswith("xxx' is not a value of method; known: sft, rm, dpo, ppo")
    assert len(said) <= 300
    assert len(sentence("word " * 1000)) == 300
    assert len(sentence(f"{path}{long} " * 3)) <= 300


def test_bytes_that_are_no_text_can_be_written_down():
    assert encodable("grün \udcff") == r"grün \udcff"
