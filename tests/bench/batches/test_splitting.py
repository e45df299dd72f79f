"""The prompt of an accepted row is in no answer, however the answers repeat it."""

import json

import pandas
import pytest

from alignmeter.batches import data_counts, read_preferences
from alignmeter.errors import InputError
from alignmeter.session.resolve import resolve_cell

Q = "Why does the harbour silt up?"


def said(role, text):
    return {"role": role, "content": text}


def talk(*texts, roles=("user", "assistant")):
    return [said(roles[i % 2], text) for i, text in enumerate(texts)]


def turned(*texts, gap="\n\n"):
    return "".join(f"{gap}{('Human', 'Assistant')[i % 2]}: {t}" for i, t in enumerate(texts))


def read(tmp_path, row):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row))
    return read_preferences(str(path))


HUMAN, CAPITALS = ("human", "gpt"), ("User", "Assistant")
CONVERSATIONAL = f"user: {Q}\nassistant: "


@pytest.mark.parametrize(
    ("row", "prompt", "answers"),
    [
        # Names of those who speak, in any spelling, under ``role`` too.
        *(
            (
                {"prompt": talk(Q), "chosen": talk(Q, "a", roles=roles),
                 "rejected": talk(Q, "b", roles=roles)},
                CONVERSATIONAL, ("a", "b"),
            )
            for roles in (HUMAN, CAPITALS)
        ),
        # Roles that nobody knows: the conversation that both answers share is the prompt.
        ({"prompt": talk(Q), "chosen": talk(Q, "a", roles=("Customer", "assistant")),
          "rejected": talk(Q, "b", roles=("Customer", "assistant"))},
         f"Customer: {Q}\nassistant: ", ("a", "b")),
        # White space around a message is no difference, but in the answers themselves.
        ({"prompt": talk(Q), "chosen": talk(f"{Q}\n", "a"), "rejected": talk(f"{Q} ", "a ")},
         f"user: {Q}\n\nassistant: ", ("a", "a ")),
        ({"prompt": talk(Q, "w", "x"), "chosen": talk(f"{Q}\n", "w ", "x", "a"),
          "rejected": [said("assistant", "b")]},
         f"user: {Q}\nassistant: w\nuser: x\nassistant: ", ("a", "b")),
        # A system's message that both answers have, and another one in the prompt.
        ({"prompt": [said("system", "s"), *talk(Q)],
          "chosen": [said("system", "t"), *talk(Q, "a")],
          "rejected": [said("system", "t"), *talk(Q, "b")]},
         f"system: t\n{CONVERSATIONAL}", ("a", "b")),
        # Turns: of one side, with or without the prompt's own markers, without empty lines, CRLF.
        ({"prompt": turned(Q) + "\n\nAssistant:", "chosen": turned(Q, "a"), "rejected": " b"},
         turned(Q) + "\n\nAssistant:", (" a", " b")),
        ({"prompt": Q, "chosen": "a", "rejected": turned(Q, "b")}, Q, ("a", " b")),
        ({"prompt": f"Human: {Q}\n\nAssistant:", "chosen": turned(Q, "a").lstrip(),
          "rejected": turned(Q, "b").lstrip()},
         f"Human: {Q}\n\nAssistant:", (" a", " b")),
        ({"chosen": turned(Q, "a", gap="\r\n\r\n"), "rejected": turned(Q, "b", gap="\r\n\r\n")},
         turned(Q, "", gap="\r\n\r\n")[:-1], (" a", " b")),
        # Answers with a speaker's name are answers, not conversations, beside a prompt.
        ({"prompt": Q, "chosen": "Assistant: a", "rejected": "Assistant: b"},
         Q, ("Assistant: a", "Assistant: b")),
    ],
)  # fmt: skip
def test_prompts_are_split_however_they_are_repeated(tmp_path, row, prompt, answers):
    (pair,), found = read(tmp_path, row)
    assert (pair.prompt, (pair.chosen, pair.rejected), found.repeated) == (prompt, answers, 0)


@pytest.mark.parametrize("prompt", [Q, talk(Q), f"{Q}\n"])
def test_a_prompt_that_both_texts_begin_with_is_split_and_counted(tmp_path, prompt):
    row = {"prompt": prompt, "chosen": f"{Q} a", "rejected": f"\n{Q}\nb"}
    (pair,), found = read(tmp_path, row)
    assert (pair.chosen, pair.rejected, found.repeated) == (" a", "\nb", 1)
    cell = resolve_cell({"data": str(tmp_path / "r.jsonl"), "batch": 1, "accelerator": "cpu"}).cell
    assert data_counts(cell)["split_prompt_repeated"] == 1


@pytest.mark.parametrize("answer", [str, lambda text: [said("assistant", text)]])
def test_a_prompt_within_what_both_begin_with_is_split(tmp_path, answer):
    form = f"### Question:\n{Q}\n\n### Answer:\n".__add__
    row = {"prompt": Q, "chosen": answer(form("a")), "rejected": answer(form("b"))}
    (pair,), found = read(tmp_path, row)
    assert (pair.chosen, pair.rejected) == ("\n\n### Answer:\na", "\n\n### Answer:\nb")
    assert (pair.prompt, found.repeated) == (Q, 1)


@pytest.mark.parametrize(
    "answers", [("Hello, who is it?", "Go away."), (f'You ask "{Q}"', f"I see: {Q}")]
)
def test_a_quotation_is_no_repetition(tmp_path, answers):
    prompt = Q if Q in answers[0] else "Hello"
    (pair,), found = read(
        tmp_path, {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    )
    assert ((pair.chosen, pair.rejected), found.repeated) == (answers, 0)


SYSTEM = said("system", "be brief")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": Q, "chosen": f"{Q} a", "rejected": "b"}, "prompt_in_one_answer"),
        ({"prompt": talk(Q), "chosen": "a", "rejected": f"{Q} b"}, "prompt_in_one_answer"),
        ({"prompt": Q, "chosen": turned("another", "a"), "rejected": "b"}, "prompt_not_shared"),
        ({"prompt": talk(Q), "chosen": talk(Q, "a", roles=("customer", "agent")),
          "rejected": talk("w", "b")[1:]}, "prompt_not_shared"),
        # Systems that differ: of one side, or another for each.
        ({"prompt": talk(Q), "chosen": [SYSTEM, *talk(Q, "a")], "rejected": talk(Q, "b")},
         "prompt_not_shared"),
        ({"prompt": talk(Q), "chosen": [SYSTEM, *talk(Q, "a")],
          "rejected": [said("system", "be long"), *talk(Q, "b")]}, "prompt_not_shared"),
        # Blank prompts, of every kind.
        *(
            ({"prompt": prompt, "chosen": chosen, "rejected": "b"}, "prompt_empty")
            for prompt in (None, "", " " * 60, [], [said("user", "")], said("user", "\n"))
            for chosen in ("a", talk("w", "a")[1:])
        ),
        ({"prompt": None, "chosen": talk("w", "a")[1:], "rejected": talk("w", "b")[1:]},
         "prompt_empty"),
        ({"question": " ", "system": "s", "chosen": "a", "rejected": "b"}, "prompt_empty"),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_counted(tmp_path, row, kind):
    pairs, found = read(tmp_path, row)
    assert (pairs, found.bad) == ([], {kind: 1})


@pytest.mark.parametrize("prompt", [None, [], ""])
def test_whole_conversations_need_no_prompt(tmp_path, prompt):
    (pair,), _ = read(
        tmp_path, {"prompt": prompt, "chosen": talk(Q, "a"), "rejected": talk(Q, "b")}
    )
    assert (pair.prompt, pair.chosen, pair.rejected) == (CONVERSATIONAL, "a", "b")


@pytest.mark.parametrize("write", [json.dumps, str, lambda m: str(pandas.Series(m).to_numpy())])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_conversations_as_text_are_refused(tmp_path, write, kind):
    path = tmp_path / f"r.{kind}"
    row = {"prompt": Q, "chosen": write(talk(Q, "a {b}")), "rejected": write(talk(Q, "b"))}
    table = pandas.DataFrame([row])
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    words = r"row 1: field 'chosen' has messages written as text; give them as a list, which JSON L"
    with pytest.raises(InputError, match=words):
        read_preferences(str(path))


@pytest.mark.parametrize(
    "answer",
    [
        '[{"name": "add_user", "arguments": {"role": "user", "content": "x"}}]',
        '{"role": "captain", "content": "of a ship"}',
        "[{'a': 1}]",
        "[1, 2]",
    ],
)
def test_answers_that_are_json_of_another_kind_are_answers(tmp_path, answer):
    (pair,), _ = read(tmp_path, {"prompt": Q, "chosen": answer, "rejected": "b"})
    assert pair.chosen == answer


def test_every_text_of_a_message_must_be_unicode(tmp_path):
    with pytest.raises(InputError, match="field 'prompt' is not valid Unicode"):
        read(tmp_path, {"prompt": [said("us\ud800er", Q)], "chosen": "a", "rejected": "b"})
