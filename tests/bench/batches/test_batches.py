"""Preference files, the tokenizer and fixed-shape batches."""

import json

import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.batches import Pair, data_digest, open_batches, read_preferences
from alignmeter.batches.tokenizer import EOS, FIRST_BYTE, PAD, VOCAB_SIZE, ByteTokenizer
from alignmeter.errors import CellError, InputError

CPU = torch.device("cpu")
encode, decode = ByteTokenizer().encode, ByteTokenizer().decode


@given(st.text())
def test_tokenizer_round_trip(text):
    text = text.encode(errors="ignore").decode()
    ids = encode(text)
    assert decode([*ids, EOS, PAD]) == text
    assert len(ids) == len(text.encode())
    assert all(FIRST_BYTE <= i < VOCAB_SIZE for i in ids)


def test_packaged_set_is_real_text():
    pairs, found = read_preferences("packaged")
    assert (found.rows, found.layout, found.bad) == (len(pairs), "plain", {})
    assert len(pairs) >= 64
    assert len({p.prompt for p in pairs}) == len(pairs)
    assert all(p.chosen != p.rejected for p in pairs)
    lengths = sorted(len(p.prompt.encode()) for p in pairs)
    assert lengths[0] < 32 < 200 < lengths[-1]
    longer = sum(len(p.chosen) > len(p.rejected) for p in pairs) / len(pairs)
    assert 0.3 < longer < 0.7  # length alone must not tell the better answer


def write(tmp_path, *rows):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return str(path)


def pairs_of(path):
    return read_preferences(path)[0]


def test_plain_rows(tmp_path):
    path = write(tmp_path, {"prompt": "p", "chosen": "é", "rejected": "r"}, "")
    assert pairs_of(path) == [Pair(prompt="p", chosen="é", rejected="r")]


USER, GOOD, BAD = (
    {"role": role, "content": text}
    for role, text in (("user", "hi"), ("assistant", "yes"), ("assistant", "no"))
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
    ids=["explicit prompt", "shared prompt"],
)
def test_conversational_rows(tmp_path, row):
    expected = Pair(prompt="user: hi\nassistant: ", chosen="yes", rejected="no")
    assert pairs_of(write(tmp_path, row)) == [expected]


GOOD_ROW = {"prompt": "p", "chosen": "c", "rejected": "r"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "line 2: not valid JSON"),
        ([1], "line 2: want an object"),
        ({"prompt": "p", "chosen": "c"}, "line 2: field 'rejected' is missing"),
        ({**GOOD_ROW, "chosen": 3}, "line 2: field 'chosen' must be text or a list"),
        ({**GOOD_ROW, "chosen": [{"content": "x"}]}, "role and content as text"),
        ({**GOOD_ROW, "prompt": [USER], "chosen": [{"role": "x", "content": 3}]}, "as text"),
        ({**GOOD_ROW, "chosen": [3]}, "line 2: field 'chosen', message 1 must be an object"),
        ({**GOOD_ROW, "chosen": [{"role": "x"}]}, "role and content as text"),
        ({"chosen": [GOOD], "rejected": "x"}, "field 'rejected' must be a list"),
        (
            {"chosen": "a", "rejected": "b"},
            "field 'prompt' is missing and the answers have no turns",
        ),
        ('{"prompt": "\\ud800", "chosen": "c", "rejected": "r"}', "not valid Unicode"),
        ("[" * 100_000, "line 2: not valid JSON"),
    ],
)
def test_a_malformed_line_names_file_line_and_field(tmp_path, row, words):
    path = write(tmp_path, GOOD_ROW, row)
    with pytest.raises(InputError) as caught:
        read_preferences(path)
    assert words in str(caught.value)
    assert path in str(caught.value)


def write_parquet(tmp_path, rows):
    path = tmp_path / "p.parquet"
    pandas.DataFrame(rows).to_parquet(path)
    return str(path)


@pytest.mark.full
@given(rows=st.lists(st.tuples(*[st.text("aé \n", min_size=1)] * 3), min_size=1, max_size=5))
def test_parquet_and_json_lines_say_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("both")
    rows = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in rows]
    as_parquet = write_parquet(folder, [{**row, "score": 1.5} for row in rows])
    assert pairs_of(as_parquet) == pairs_of(write(folder, *rows))


def test_conversations_in_parquet(tmp_path):
    path = write_parquet(tmp_path, [{"chosen": [USER, GOOD], "rejected": [USER, BAD]}])
    expected = Pair(prompt="user: hi\nassistant: ", chosen="yes", rejected="no")
    assert pairs_of(path) == [expected]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "p", "chosen": "c"}], "row 1: field 'rejected' is missing"),
        ([{"text": "x"}], "row 1: no known layout in the columns text; name them with --columns"),
        ([{**GOOD_ROW, "chosen": 3}], "row 1: field 'chosen' must be text or a list"),
        ([], "no preference rows"),
    ],
)
def test_a_wrong_parquet_file_names_row_and_field(tmp_path, rows, words):
    path = write_parquet(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        read_preferences(path)
    assert words in str(caught.value)
    assert path in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parquet_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "f.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_preferences(str(path))


def test_sft_sees_the_chosen_answers_of_twice_as_many_pairs(make_cell):
    source = open_batches(make_cell(batch=2), vocab_size=99, seed=0)
    batch = source.take(1, CPU, "chosen")
    assert batch.pairs == (4, 5, 6, 7)
    assert batch.ids.tolist() == [source.rows[i][0] for i in range(4, 8)]
    assert source.take(1, CPU).pairs == (2, 3)


def test_empty_and_missing_files(tmp_path):
    with pytest.raises(InputError, match="no preference rows"):
        read_preferences(write(tmp_path, ""))
    with pytest.raises(InputError, match="cannot be read"):
        read_preferences(str(tmp_path / "none.jsonl"))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "f.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_preferences(str(path))


def test_prompts_are_cropped_short_ones_dropped_and_counted(tmp_path, make_cell):
    """P = 8, T = 16: the prompt keeps its last 8 bytes, the answer 7 bytes and the end token."""
    path = write(
        tmp_path,
        {"prompt": "0123456789ab", "chosen": "yes", "rejected": "a far longer answer"},
        {"prompt": "short", "chosen": "c", "rejected": "r"},
    )
    source = open_batches(make_cell(data=path, batch=1), vocab_size=512, seed=0)
    assert source.kept == 1
    assert source.counts == {
        "rows": 2, "pairs_kept": 1, "pairs_dropped": 1, "dropped_prompt_short": 1,
    }  # fmt: skip
    assert source.layout == "plain"
    batch = source.take(0, CPU)
    assert batch.ids.shape == (2, 16)
    assert decode(batch.prompts[0].tolist()) == decode(batch.prompts[1].tolist()) == "456789ab"
    assert batch.ids[0].tolist() == [*encode("456789abyes"), EOS, *[PAD] * 4]
    assert batch.ids[1].tolist() == [*encode("456789aba far l"), EOS]
    assert batch.response_mask.tolist() == [[1.0] * 4 + [0.0] * 4, [1.0] * 8]
    assert batch.real_tokens == 12 + 16


def test_too_few_long_prompts_is_a_reason(tmp_path, make_cell):
    path = write(tmp_path, GOOD_ROW)
    with pytest.raises(CellError, match="0 of 1 prompts have 8 tokens") as caught:
        open_batches(make_cell(data=path), vocab_size=512, seed=0)
    assert (caught.value.status, caught.value.code) == ("unsupported", "data_too_short")


def test_synthetic_is_fixed_length_seeded_and_shares_prompts(make_cell):
    cell = make_cell(batch=3)
    first, again, other = (
        open_batches(cell, vocab_size=99, seed=s).take(0, CPU) for s in (1, 1, 2)
    )
    assert torch.equal(first.ids, again.ids)
    assert not torch.equal(first.ids, other.ids)
    assert first.response_mask.all()
    assert torch.equal(first.prompts[:3], first.prompts[3:])
    assert first.ids.min() >= FIRST_BYTE
    assert first.ids.max() < 99
    assert first.real_tokens == 6 * 16


def test_batches_go_round(make_cell):
    source = open_batches(make_cell(batch=48), vocab_size=99, seed=0)  # 64 synthetic pairs
    assert torch.equal(source.take(1, CPU).ids[16], source.take(0, CPU).ids[0])


def test_digest_follows_the_bytes(tmp_path):
    path = write(tmp_path, GOOD_ROW)
    before = data_digest(path)
    assert len(before) == 64
    write(tmp_path, {**GOOD_ROW, "chosen": "d"})
    assert data_digest(path) != before
    assert data_digest("synthetic") == data_digest("synthetic") != data_digest("packaged")
