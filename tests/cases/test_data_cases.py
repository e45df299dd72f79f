"""Preference files as people have them: each input of ``data/`` with what must hold."""

from pathlib import Path

import pytest

from alignmeter.batches import read_preferences
from alignmeter.batches.preferences import KINDS
from alignmeter.cli import main
from alignmeter.errors import InputError
from alignmeter.session import Settings, measure
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell

DATA = Path(__file__).parent / "data"
QUESTION = (
    "Explain to a new colleague how a tide gauge works and why the readings differ between two "
    "harbours that lie close together. "
) * 2
ASKED = f"user: {QUESTION}\nassistant: "
CALL = '[{"function": {"arguments": {"harbour": "A"}, "name": "tide"}, "type": "function"}]'
GUIDED = (
    f"system: Answer briefly. 🧭\nuser: שלום, ما هذا؟ {QUESTION}\nassistant: سؤال جيد\n"
    "user: and now?\nassistant: "
)

READ = {
    "d01b_prompt_list_and_full_conversations.jsonl": (
        4, "conversational", f"user: {QUESTION}0\nassistant: ", "It floats. 0", "No idea. 0",
    ),
    "d02_implicit_text.jsonl": (
        4, "implicit-hh", f"\n\nHuman: {QUESTION}\n\nAssistant:", " A float moves.",
        " Ask someone.",
    ),
    "d04_tool_call_null_content.jsonl": (
        4, "conversational", ASKED, CALL, "I cannot look that up.",
    ),
    "d05_content_parts.jsonl": (4, "conversational", ASKED, "It floats.", "no"),
    "d08_bom_crlf.jsonl": (4, "plain", QUESTION, "yes", "no"),
    "d09_utf16.jsonl": (4, "plain", QUESTION, "yes", "no"),
    "d10_array.json": (4, "plain", QUESTION, "yes", "no"),
    "d11_rows.jsonl.gz": (4, "plain", QUESTION, "yes", "no"),
    "d12_rows.csv": (4, "plain", QUESTION, "yes", "no"),
    "d13_sharegpt.jsonl": (4, "sharegpt", ASKED, "It floats.", "no"),
    "d14_answer_is_one_message.jsonl": (4, "one-message-answers", ASKED, "It floats.", "no"),
    "d17_shared_prompt_with_ids.jsonl": (4, "implicit-conversational", ASKED, "It floats.", "no"),
    "d20_system_multi_turn_rtl.jsonl": (4, "conversational", GUIDED, "👍🏽 נכון", "👎"),
    "d21_nan.jsonl": (4, "plain", QUESTION, "a", "b"),
    "d22_capital_names.jsonl": (4, "plain", QUESTION, "yes", "no"),
    "p_duplicate_names.parquet": (1, "plain", "a" * 80, "d", "c"),
    "p_folder": (12, "plain", f"{QUESTION}0", "float 0", "no 0"),
    "p_struct_answer.parquet": (
        6, "one-message-answers", f"user: {QUESTION}0\nassistant: ", "float", "no",
    ),
    "p_struct_extra_null.parquet": (
        6, "implicit-conversational", f"user: {QUESTION}0\nassistant: ", "float 0", "no 0",
    ),
    "p_tool_calls.parquet": (
        6, "conversational", f"user: {QUESTION}0\nassistant: ", "float",
        '[{"args": "{}", "name": "f"}]',
    ),
} | {
    f"p_{name}": (6, "plain", f"{QUESTION}0", "float 0", "no 0")
    for name in (
        "brotli.parquet", "dictionary.parquet", "gzip.parquet", "large_string.parquet",
        "lz4.parquet", "none.parquet", "snappy.parquet", "string_view.parquet",
        "two_cases.parquet", "upper.PARQUET", "zstd.parquet",
    )
}  # fmt: skip
"""File -> pairs, layout, and the first pair."""

LEFT_OUT = {
    "d06_identical.jsonl": (4, {"answers_equal": 4}, "line 1"),
    "d15_one_empty_rejected.jsonl": (5, {"answer_empty": 1}, "line 4, field 'rejected'"),
    "d16_one_null.jsonl": (5, {"answer_null": 1}, "line 3, field 'rejected'"),
    "d18_identical_conversations.jsonl": (4, {"conversations_equal": 4}, "line 1"),
    "d19_chosen_is_prefix.jsonl": (4, {"answer_continues": 4}, "line 1"),
    "d23_blank_answer.jsonl": (4, {"answer_blank": 4}, "line 1, field 'rejected'"),
}
"""File -> rows, those that are no pair by kind, and where the first is."""

REFUSED = {
    "p_binary.parquet": "row 1: field 'chosen' must be text or a list of messages, got bytes",
    "p_json_text.parquet": "row 1: field 'prompt' is missing and the answers are JSON as text",
}

UNPAIRED = {"d03_unpaired.jsonl"}
"""Read, but not by methods that compare two answers."""

CUT = {
    "d07_identical_after_cut.jsonl": "4 of 4 pairs are equal once their answers are cut to 32",
    "d24_half_identical_after_cut.jsonl": None,
}
"""Equal at T = 64 only: why no cell can be measured, if none can."""


def test_every_input_has_its_right_value():
    assert {path.name for path in DATA.iterdir()} == {*READ, *LEFT_OUT, *REFUSED, *UNPAIRED, *CUT}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name):
    count, layout, *first = READ[name]
    pairs, found = read_preferences(str(DATA / name))
    assert (len(pairs), found.rows, found.layout, found.bad) == (count, count, layout, {})
    assert [pairs[0].prompt, pairs[0].chosen, pairs[0].rejected] == first


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_no_pair_is_counted(name):
    rows, bad, where = LEFT_OUT[name]
    pairs, found = read_preferences(str(DATA / name))
    assert (found.rows, found.bad, len(pairs)) == (rows, bad, rows - sum(bad.values()))
    assert found.first_bad == dict.fromkeys(bad, f"{DATA / name}, {where}")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_one_sentence(name):
    with pytest.raises(InputError) as caught:
        read_preferences(str(DATA / name))
    assert str(caught.value).startswith(f"{DATA / name}, {REFUSED[name]}")


@pytest.fixture
def dry_run(monkeypatch, capsys):
    """A function of a file and options that gives exit status, stdout and stderr of a dry run."""

    def run(name, *more):
        axes = {"method": "dpo", "architecture": "llama", "peft": "full", "accelerator": "cpu"}
        chosen = [part for axis, value in axes.items() for part in (f"--{axis}", value)]
        chosen += ["--data", str(DATA / name), *more]
        command = ["alignmeter", "run", "--dry-run", *chosen]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return caught.value.code or 0, *(s.replace(f"{DATA}/", "") for s in (said.out, said.err))

    return run


WORDS = {
    "d06_identical.jsonl": "no pair in 4 rows: chosen and rejected are equal, first in line 1",
    "d18_identical_conversations.jsonl": "chosen and rejected are the same conversation",
    "d19_chosen_is_prefix.jsonl": "one answer only goes on where the other ends, first in line 1",
    "d23_blank_answer.jsonl": "an answer is blank, first in line 1, field 'rejected'",
    "d07_identical_after_cut.jsonl": CUT["d07_identical_after_cut.jsonl"],
}


@pytest.mark.parametrize("name", WORDS)
def test_a_file_without_a_pair_to_take_is_a_reason_before_any_worker(dry_run, name):
    status, cells, notes = dry_run(name)
    assert (status, notes) == (0, "")
    line, _ = cells.splitlines()  # the other says how long the rest would take
    assert f"unsupported: {name}: " in line
    assert WORDS[name] in line
    assert len(line) <= 300


def test_a_longer_sequence_makes_cut_pairs_differ(dry_run):
    status, cells, _ = dry_run("d07_identical_after_cut.jsonl", "--seq-len", "200")
    assert (status, "unsupported" in cells) == (0, False)


@pytest.mark.parametrize("name", ["d15_one_empty_rejected.jsonl", "d16_one_null.jsonl"])
def test_bad_rows_are_left_out_with_a_note_or_refused(dry_run, name):
    _, bad, where = LEFT_OUT[name]
    what = KINDS[next(iter(bad))]
    status, cells, notes = dry_run(name)
    assert (status, "unsupported" in cells) == (0, False)
    assert notes == f"Note: {name}: 1 of 5 rows left out: {what}, first in {where}\n"
    status, cells, error = dry_run(name, "--bad-rows", "refuse")
    assert (status, cells) == (2, "")
    assert f"{name}, {where}: {what}; correct it, or drop such rows: --bad-rows drop" in error


def test_unpaired_rows_are_ktos(dry_run):
    status, cells, _ = dry_run("d03_unpaired.jsonl")
    assert status == 0
    assert "d03_unpaired.jsonl holds completions with a label, data of kto" in cells
    _, cells, _ = dry_run("d03_unpaired.jsonl", "--method", "kto")
    assert "unsupported" not in cells


@pytest.mark.parametrize(
    ("name", "code", "counts"),
    [
        (
            "d06_identical.jsonl", "no_pairs",
            {"rows": 4, "pairs_kept": 0, "pairs_dropped": 4, "dropped_answers_equal": 4},
        ),
        (
            "d07_identical_after_cut.jsonl", "pairs_equal",
            {"rows": 4, "pairs_kept": 0, "pairs_dropped": 4, "dropped_equal_once_cut": 4},
        ),
    ],
)  # fmt: skip
def test_the_record_has_the_reason_and_the_counts(name, code, counts):
    planned = resolve_cell({"data": str(DATA / name), "accelerator": "cpu"})
    record = measure(planned, 0, Settings(), Launcher()).record
    assert (record.status, record.reason.code, record.provenance.data) == (
        "unsupported", code, counts,
    )  # fmt: skip
