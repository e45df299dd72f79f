"""Data that are read once: stored for the workers, and selected once for a tokenizer, P and T."""

import json
import pickle
import random
from collections import Counter

import pytest
import torch

from alignmeter.batches import data_counts, dataset, files, lengths, open_batches, share_rows
from alignmeter.batches.texts import MappedTexts
from alignmeter.batches.tokenizer import EOS, ByteTokenizer
from alignmeter.cells.matrix import Choice
from alignmeter.errors import CellError, InputError
from alignmeter.session.resolve import input_notes, resolve_cell, resolve_plan
from alignmeter.worker.agreement import checked_cell

CPU = torch.device("cpu")
START = "the same beginning of "


def row(number):
    """One of three has equal answers, one answers that differ at byte 22, one at byte 27."""
    ends = [("good", "good"), ("bad", "good"), ("good things", "good times")][number % 3]
    chosen, rejected = (f"{START}{end} {number}" for end in ends)
    return {"prompt": "é" * (number % 7 + 1), "chosen": chosen, "rejected": rejected}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row(number)) for number in range(3000)))
    return str(file)


def cell_of(path, **axes):
    defaults = {"data": path, "seq_len": 40, "prompt_len": 8, "accelerator": "cpu"}
    return resolve_cell({**defaults, **axes}).cell


def test_a_file_is_read_once_for_all_cells_and_workers(path, monkeypatch):
    reads = Counter()
    read_rows = files.read_rows

    def counted(data, columns):
        reads[data] += 1
        return read_rows(data, columns)

    monkeypatch.setattr("alignmeter.batches.preferences.read_rows", counted)
    for seq_len in (40, 48, 300):
        cell = cell_of(path, seq_len=seq_len, prompt_len=8)
        share_rows(cell, checked_cell(cell))
        open_batches(cell, vocab_size=512, seed=0)
    assert reads == {path: 1}


def test_a_worker_takes_what_the_parent_would_and_reads_no_file(path, monkeypatch):
    cell = cell_of(path, seq_len=300, prompt_len=10)
    shared = pickle.loads(pickle.dumps(share_rows(cell, checked_cell(cell))))  # noqa: S301
    ours = [open_batches(c, vocab_size=512, seed=3) for c in (cell, checked_cell(cell))]
    monkeypatch.setattr("alignmeter.batches.preferences.read_rows", None)
    theirs = [
        open_batches(c, vocab_size=512, seed=3, shared=shared) for c in (cell, checked_cell(cell))
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.kept, one.counts, one.layout) == (other.kept, other.counts, other.layout)
        for step in range(20):
            assert torch.equal(one.take(step, CPU).ids, other.take(step, CPU).ids)


def test_only_rows_of_a_step_are_tokenised(path, monkeypatch):
    source = open_batches(cell_of(path), vocab_size=512, seed=0)
    encoded = []
    encode = ByteTokenizer.encode
    monkeypatch.setattr(
        ByteTokenizer, "encode", lambda self, text: encoded.append(text) or encode(self, text)
    )
    source.take(0, CPU)
    assert len(encoded) == 2 * 3  # prompt, chosen and rejected of two pairs


def test_the_order_is_that_of_all_long_prompts_without_the_equal_ones(path):
    """P = 8 bytes: prompts of four and more é. Of T = 36, 27 bytes of the answers are left."""
    source = open_batches(cell_of(path, seq_len=36), vocab_size=512, seed=5)
    pairs = [number for number in range(3000) if number % 3]
    long = [number for number in pairs if number % 7 + 1 >= 4]
    order = torch.randperm(len(long), generator=torch.Generator().manual_seed(5)).tolist()
    wanted = [long[i] for i in order if long[i] % 3 == 1]
    encode = ByteTokenizer().encode
    for place in (0, 1, 2, len(wanted) - 1):
        made = row(wanted[place])
        prompt, answer = encode(made["prompt"])[-8:], encode(made["chosen"])[:27]
        assert source.rows[place][0] == [*prompt, *answer, EOS]
    assert source.counts == {
        "rows": 3000, "pairs_kept": len(wanted), "pairs_dropped": 3000 - len(wanted),
        "dropped_prompt_short": len(pairs) - len(long), "dropped_answers_equal": 1000,
        "dropped_equal_once_cut": len(long) - len(wanted),
    }  # fmt: skip


def test_bytes_counted_where_they_lie_are_those_of_the_tokenizer(path):
    texts = dataset.open_dataset(path).texts
    assert isinstance(texts, MappedTexts)
    copied = [texts[number] for number in range(len(texts))]
    there, made = (lengths.measure(some, ByteTokenizer()) for some in (texts, copied))
    assert there.prompts.tolist() == made.prompts.tolist()
    for count in (0, 1, 21, 22, 23, 30, 99):
        assert there.equal_once_cut(count).tolist() == made.equal_once_cut(count).tolist()


def test_answers_of_a_part_may_have_more_than_2_gib(path):
    """Offsets of 32 bits end at 2**31; 1024 answers of 2.1 MB are more."""
    texts = MappedTexts(share_rows(cell_of(path)).texts)
    assert {str(kind) for kind in texts.table.schema.types} == {"large_string"}


def test_a_changed_file_is_read_again_but_a_resolved_cell_keeps_its_data(path):
    cell = cell_of(path, seq_len=100)
    before = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    with open(path, "a") as file:  # noqa: PTH123
        file.write("\n" + json.dumps({**row(4), "chosen": "another"}))
    assert cell_of(path, seq_len=100).data_digest != cell.data_digest
    assert torch.equal(open_batches(cell, vocab_size=512, seed=0).take(0, CPU).ids, before.ids)


@pytest.mark.parametrize(
    ("axes", "code", "words"),
    [
        ({"prompt_len": 15}, "data_too_short", "0 of 2000 prompts have 15 tokens or more"),
        ({"seq_len": 26}, "pairs_equal", "are equal once their answers are cut to 18 tokens"),
    ],
)
def test_data_that_do_not_fit_are_a_reason_before_any_worker(path, axes, code, words):
    defaults = {"data": path, "seq_len": 40, "prompt_len": 8, "accelerator": "cpu"}
    (planned,) = resolve_plan([Choice(axes={**defaults, **axes})])
    assert planned.unsupported.code == code
    assert words in planned.unsupported.text
    assert data_counts(planned.cell)["pairs_kept"] == 0
    with pytest.raises(CellError) as caught:
        share_rows(planned.cell)
    assert caught.value.code == code


def test_bad_rows_are_noted_once_or_refused(path):
    plan = [resolve_cell({"data": path, "batch": batch, "accelerator": "cpu"}) for batch in (1, 2)]
    (note,) = input_notes(plan)
    assert note == (
        f"{path}: 1000 of 3000 rows left out: chosen and rejected are equal, first in line 1"
    )
    with pytest.raises(InputError, match="line 1: chosen and rejected are equal; correct it"):
        resolve_cell({"data": path, "accelerator": "cpu"}, bad_rows="refuse")


def test_packaged_pairs_keep_their_steps_when_the_cut_makes_them_equal(make_cell):
    """Records of all versions agree on which step sees which pair."""
    source = open_batches(make_cell(data="packaged", seq_len=64), vocab_size=512, seed=0)
    assert source.counts == {
        "rows": 77, "pairs_kept": 62, "pairs_dropped": 15, "dropped_prompt_short": 15,
        "kept_equal_once_cut": 1,
    }  # fmt: skip
    assert share_rows(make_cell(data="packaged")) is None


@pytest.mark.parametrize("data", ["packaged", "synthetic"])
def test_columns_of_what_has_none_are_refused(data, make_cell):
    with pytest.raises(InputError, match=r"'q', which is not there|synthetic data have none"):
        make_cell(data=data, columns="prompt=q")


def test_columns_are_in_the_cell_and_its_digest_but_not_in_its_name(path):
    plain, named = cell_of(path), cell_of(path, columns="rejected=prompt")
    assert named.columns == "rejected=prompt"
    assert named.name() == plain.name()
    assert named.id != plain.id
    assert named.data_digest != plain.data_digest
    assert resolve_cell(named.axes()).cell == named


def test_a_check_at_a_shorter_cut_takes_the_cells_own_rows(tmp_path):
    """T = 600 tells the answers apart, the agreement step's 256 tokens do not."""
    file = tmp_path / "r.jsonl"
    same = random.Random(1).choices("abc", k=400)
    answer = "".join(same)
    rows = [{"prompt": "p" * 99, "chosen": answer + c, "rejected": answer} for c in "xy"]
    file.write_text("\n".join(map(json.dumps, rows)))
    cell = cell_of(str(file), seq_len=600, prompt_len=50)
    shared = share_rows(cell, checked_cell(cell))
    source = open_batches(checked_cell(cell), vocab_size=512, seed=0, shared=shared)
    assert source.kept == 2
