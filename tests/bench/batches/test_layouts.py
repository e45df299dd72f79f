"""Layouts: generated rows of each, in each kind of file, become pairs whose counts add up."""

import json
from pathlib import Path

import pyarrow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from alignmeter.batches import open_batches, read_preferences
from alignmeter.batches.layouts import LAYOUTS
from alignmeter.batches.preferences import KINDS
from alignmeter.errors import InputError
from alignmeter.session.resolve import resolve_cell

DOCS = Path(__file__).parents[3] / "docs" / "data.md"


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def gpt(text):
    return {"from": "gpt", "value": text}


def talk(prompt, answer):
    return [user(prompt), said(answer)]


def turned(prompt, answer):
    return f"\n\nHuman: {prompt}\n\nAssistant: {answer}"


def names(prompt, chosen="chosen", rejected="rejected", **more):
    return lambda p, c, r: {prompt: p, chosen: c, rejected: r, **more}


MADE = {
    "plain": names("prompt"),
    "plain, repeated": lambda p, c, r: {"prompt": p, "chosen": f"{p} {c}", "rejected": p + r},
    "conversational": lambda p, c, r: {
        "prompt": [user(p)], "chosen": [said(c)], "rejected": [said(r)],
    },
    "conversational, repeated": lambda p, c, r: {
        "prompt": [user(p)], "chosen": talk(p, c), "rejected": talk(p, r),
    },
    "conversational, repeated otherwise": lambda p, c, r: {
        "prompt": [user(p)],
        "chosen": [{"role": "Human", "content": f"{p}\n"}, gpt(c)],
        "rejected": [{"role": "User", "content": f" {p}"}, {"role": "model", "content": r}],
    },
    "ultrafeedback": lambda p, c, r: {"prompt": p, "chosen": talk(p, c), "rejected": talk(p, r)},
    "one-message-answers": lambda p, c, r: {"prompt": p, "chosen": said(c), "rejected": said(r)},
    "sharegpt": lambda p, c, r: {
        "conversations": [{"from": "human", "value": p}], "chosen": gpt(c), "rejected": gpt(r),
    },
    "orca": names("question", system="Be brief."),
    "alpaca": names("instruction", input="more"),
    "argilla": names("instruction", "chosen_response", "rejected_response"),
    "distilabel": names("input", system=""),
    "stack-exchange": names("question", "response_j", "response_k"),
    "hh": lambda p, c, r: {"prompt": p, "chosen": turned(p, c), "rejected": turned(p, r)},
    "hh, of one side": lambda p, c, r: {"prompt": p, "chosen": turned(p, c), "rejected": r},
    "hh, without empty lines": lambda p, c, r: {
        "prompt": f"Human: {p}\n\nAssistant:",
        "chosen": turned(p, c).lstrip(), "rejected": turned(p, r).lstrip(),
    },
    "implicit-conversational": lambda p, c, r: {"chosen": talk(p, c), "rejected": talk(p, r)},
    "implicit-hh": lambda p, c, r: {"chosen": turned(p, c), "rejected": turned(p, r)},
}  # fmt: skip
"""Layout -> a function of prompt and answers that makes a row of it."""
FLAT = ("plain", "orca", "alpaca", "argilla", "distilabel", "stack-exchange", "hh", "implicit-hh")
"""What fits into a table of text."""

P_TEXT = st.text("Qé \n", min_size=1, max_size=20).map(lambda text: f"Q{text}?")
ANSWER = st.one_of(
    st.text("aü \n", max_size=12),
    st.text("ab", max_size=3).map(lambda end: "the same start " + end),
)


def store(folder, kind, rows):
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "csv":
        import pandas

        pandas.DataFrame(rows).to_csv(path, index=False, lineterminator="\n")
    else:
        path = folder / "shards"
        path.mkdir()
        for number, row in enumerate(rows):
            (path / f"{number:03}.jsonl").write_text(json.dumps(row))
    return str(path)


@st.composite
def files(draw):
    name = draw(st.sampled_from(list(MADE)))
    flat = name.split(",")[0] in FLAT
    kinds = ["jsonl", "json", "parquet", "folder", *(["csv"] if flat else [])]
    rows = draw(st.lists(st.tuples(P_TEXT, ANSWER, ANSWER), min_size=1, max_size=6))
    return name, draw(st.sampled_from(kinds)), rows


@given(files(), st.integers(2, 24))
def test_pairs_differ_within_the_cut_without_the_prompt_and_counts_add_up(
    tmp_path_factory, made, response
):
    name, kind, rows = made
    path = store(tmp_path_factory.mktemp("made"), kind, [MADE[name](*row) for row in rows])
    pairs, found = read_preferences(path)
    assert found.rows == len(rows) == len(pairs) + sum(found.bad.values())
    assert set(found.bad) <= set(KINDS)
    assert found.layout == name.split(",")[0]
    for pair in pairs:
        assert pair.chosen.strip()
        assert pair.rejected.strip()
        assert "Q" not in pair.chosen + pair.rejected  # of every prompt's letters, of no answer's
        assert "Q" in pair.prompt
    axes = {"data": path, "seq_len": 4 + response, "prompt_len": 4, "batch": 1}
    planned = resolve_cell({**axes, "accelerator": "cpu"})
    if planned.unsupported is not None:
        assert planned.unsupported.code in {"no_pairs", "data_too_short", "pairs_equal"}
        return
    source = open_batches(planned.cell, vocab_size=512, seed=0)
    assert source.counts["rows"] == len(rows) == source.kept + source.counts["pairs_dropped"]
    dropped = [n for name, n in source.counts.items() if name.startswith("dropped_")]
    assert sum(dropped) == source.counts["pairs_dropped"]
    for step in range(source.kept):
        chosen, rejected = source.take(step, torch.device("cpu")).ids
        assert not torch.equal(chosen, rejected)
        assert torch.equal(chosen[:4], rejected[:4])


def test_every_layout_is_made_above_and_documented():
    layouts = {layout.name for layout in LAYOUTS}
    assert layouts == {name.split(",")[0] for name in MADE}
    page = DOCS.read_text()
    for layout in LAYOUTS:
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{layout.name}` |"))
        columns = [*layout.columns().values(), *filter(None, (layout.more, layout.system))]
        optional = {"chosen", "rejected"}  # said once for layouts that call them so
        assert all(f"`{column}`" in line for column in columns if column not in optional), line
        assert layout.source in line
    assert all(f"`dropped_{kind}`" in page for kind in KINDS)


def pair_of(tmp_path, row):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row))
    (pair,), found = read_preferences(str(path))
    return pair.prompt, pair.chosen, pair.rejected, found.layout


CHAT = [{"role": "system", "content": "s"}, user("q")]
ASKED = "system: s\nuser: q\nassistant: "
CALLS = [{"function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        # The answers leave out the system's message, or have it where the prompt has not.
        ({"prompt": CHAT, "chosen": talk("q", "a"), "rejected": talk("q", "b")}, (ASKED, "a", "b")),
        (
            {"prompt": [user("q")], "chosen": [*CHAT, said("a")], "rejected": [*CHAT, said("b")]},
            (ASKED, "a", "b"),
        ),
        # Only one side repeats the prompt.
        (
            {"prompt": CHAT, "chosen": talk("q", "a"), "rejected": [said("b")]}, (ASKED, "a", "b"),
        ),
        ({"prompt": "q", "chosen": talk("q ", "a"), "rejected": [said("b")]}, ("q", "a", "b")),
        # Turns that both answers have go on in the prompt.
        (
            {"prompt": [user("q")], "chosen": [*talk("q", "w"), *talk("x", "a")],
             "rejected": [*talk("q", "w"), *talk("x", "b")]},
            ("user: q\nassistant: w\nuser: x\nassistant: ", "a", "b"),
        ),
        # The same content, spelt otherwise.
        (
            {"chosen": [{**user("q"), "id": 1, "tool_calls": None}, said("a")],
             "rejected": [user([{"type": "text", "text": "q"}]), said("b")]},
            ("user: q\nassistant: ", "a", "b"),
        ),
        (
            {"prompt": "q", "chosen": [{"role": "assistant", "tool_calls": CALLS}],
             "rejected": [said("b")]},
            ("q", '[{"function": {"arguments": "{}", "name": "f"}}]', "b"),
        ),
        ({"question": "q", "system": "s", "chosen": "a", "rejected": "b"}, (ASKED, "a", "b")),
        ({"Instruction": "q", "INPUT": "", "chosen": "a", "rejected": "b"}, ("q", "a", "b")),
        # A second turn of the same person is an answer too.
        (
            {"chosen": turned("q", "w") + turned("x", "a"),
             "rejected": turned("q", "w") + turned("y", "b")},
            (turned("q", "w"), turned("x", "a"), turned("y", "b")),
        ),
        # An answer that says what a turn looks like, to a prompt of its own.
        ({"prompt": "q", "chosen": "a\n\nHuman: x", "rejected": "b"}, ("q", "a\n\nHuman: x", "b")),
    ],
)  # fmt: skip
def test_prompts_are_split_from_conversations(tmp_path, row, pair):
    assert pair_of(tmp_path, row)[:3] == pair


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "prompt_empty"),
        ({"prompt": None, "chosen": "a", "rejected": ""}, "answer_empty"),
        ({"prompt": "q", "chosen": [], "rejected": "b"}, "answer_empty"),
        ({"prompt": "q", "chosen": [said(None)], "rejected": "b"}, "answer_empty"),
        ({"prompt": "q", "chosen": [said(" \t")], "rejected": "b"}, "answer_blank"),
        ({"prompt": "q", "chosen": "a", "rejected": [said("a")]}, "answers_equal"),
        ({"prompt": [user("q")], "chosen": talk("q", "a"), "rejected": [said("a")]},
         "answers_equal"),
        ({"chosen": turned("q", "a"), "rejected": turned("q", "a")}, "conversations_equal"),
        ({"chosen": turned("q", "a"), "rejected": turned("q", "a") + turned("x", "b")},
         "answer_continues"),
        ({"prompt": "q", "chosen": [said("a")], "rejected": [said("a"), *talk("x", "b")]},
         "answer_continues"),
        ({"chosen": [said("a")], "rejected": [said("b")]}, "prompt_not_shared"),
        ({"chosen": turned("q", "a"), "rejected": turned("x", "a")}, "prompt_not_shared"),
        ({"prompt": "q", "chosen": talk("y", "a"), "rejected": talk("x", "a")},
         "prompt_not_shared"),
    ],
)  # fmt: skip
def test_what_is_no_pair(tmp_path, row, kind):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row))
    pairs, found = read_preferences(str(path))
    assert (pairs, found.bad) == ([], {kind: 1})


def test_a_part_that_is_no_text_is_refused(tmp_path):
    image = {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}
    with pytest.raises(InputError, match="message 1 has a part of type 'image_url'; only text"):
        pair_of(tmp_path, {"prompt": [image], "chosen": "a", "rejected": "b"})


def test_rows_of_several_layouts_are_all_named(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [MADE[name]("q", "a", "b") for name in ("plain", "implicit-hh", "plain")]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_preferences(str(path))[1].layout == "plain, implicit-hh"
