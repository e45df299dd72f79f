"""Rows of their own lengths: what is kept, what shares a batch, and which batch is the largest."""

import itertools
import json
import pickle

import numpy as np
import pytest
import torch

from alignmeter.batches import lengths, open_batches, share_rows
from alignmeter.batches.dataset import open_dataset
from alignmeter.batches.drawn import table_of
from alignmeter.batches.source import data_digest
from alignmeter.batches.spans import Spans, at_responses, ends, moved
from alignmeter.batches.tokenizer import EOS, PAD, ByteTokenizer
from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError
from alignmeter.session.resolve import resolve_cell

CPU = torch.device("cpu")
OWN = ("padded", "bucketed", "packed")


def cell_of(**axes) -> Cell:
    return resolve_cell({"accelerator": "cpu", "data": "lengths:hh", **axes}).cell


def source_of(seed=0, **axes):
    return open_batches(cell_of(**axes), vocab_size=512, seed=seed)


def test_the_table_is_the_published_one():
    """2312 pairs of HH-RLHF's harmless-base test split; a row's median and its 90th percentile."""
    table = table_of("lengths:hh")
    assert table.shape == (2312, 3)
    rows = (table[:, :1] + table[:, 1:]).flatten()
    assert [int(np.percentile(rows, p)) for p in (50, 90)] == [121, 317]
    assert table.min() == 1


@pytest.mark.parametrize("batching", OWN)
def test_rows_of_their_own_lengths_keep_every_pair(batching):
    """Fixed rows keep the pairs whose prompt reaches P: 216 of 2312 at T 512."""
    kept = {name: source_of(batching=name, seq_len=512).counts for name in ("fixed", batching)}
    assert kept["fixed"]["pairs_kept"] == 216
    assert kept[batching] == {"rows": 2312, "pairs_kept": 2312, "pairs_dropped": 0}


@pytest.mark.parametrize("batching", OWN)
def test_rows_are_cut_to_t_and_prompts_to_their_last_p_tokens(batching):
    """By the table: prompt min(p, P), row min(that + answer + 1, T), an end of text at its end."""
    source = source_of(batching=batching, seq_len=64, prompt_len=20, batch=8)
    table = table_of("lengths:hh")
    batch = source.take(3, CPU)
    for row, number in enumerate((*batch.pairs, *batch.pairs)):
        prompt, answer = table[source.rows.order[number]][[0, 1 if row < 8 else 2]].tolist()
        length = min(min(prompt, 20) + answer + 1, 64)
        assert batch.spans.prompts[row] == min(prompt, 20)
        assert batch.spans.lengths[row] == length
        assert batch.ids[row, length - 1] == EOS
        assert (batch.ids[row, length:] == PAD).all()
        assert batch.response_mask[row].sum() == length - min(prompt, 20)
        whole = source.rows.texts.ids(int(source.rows.order[number]))[0]
        assert batch.ids[row, : min(prompt, 20)].tolist() == whole[-20:]
    assert batch.ids.shape[1] == max(batch.spans.lengths)
    assert batch.real_tokens == sum(batch.spans.lengths)
    padding = 0 if batching == "packed" else batch.ids.numel() - batch.real_tokens
    assert batch.padded_tokens == padding
    assert batch.last_token.tolist() == [length - 1 for length in batch.spans.lengths]


def test_padded_takes_the_rows_of_fixed_in_the_same_order():
    """Where all prompts reach P nothing is different but the padding on the right."""
    sources = [source_of(batching=name, seq_len=32, prompt_len=8) for name in ("fixed", "padded")]
    assert sources[0].kept == sources[1].kept == 2312
    fixed, padded = (source.take(5, CPU) for source in sources)
    assert fixed.pairs == padded.pairs
    width = padded.ids.shape[1]
    assert torch.equal(fixed.ids[:, :width], padded.ids)
    assert torch.equal(fixed.response_mask[:, : width - 8], padded.response_mask)
    assert fixed.real_tokens == padded.real_tokens


@pytest.mark.parametrize("rows", ["pairs", "chosen", "groups"])
def test_a_bucketed_epoch_holds_every_pair_in_batches_of_like_length(rows):
    source = source_of(batching="bucketed", seq_len=512, batch=3)
    count = source.pairs_of_step(rows)
    steps = -(-source.kept // count)
    taken = [source.take(step, CPU, rows) for step in range(steps)]
    seen = list(itertools.chain.from_iterable(batch.pairs for batch in taken))
    assert set(seen) == set(range(source.kept))
    assert len(seen) - source.kept < count
    # No batch reaches into another: sorted by length they are neighbours.
    sides = source.lengths[:, 1:2] if rows != "pairs" else source.lengths[:, 1:]
    reach = sides.max(axis=1)
    spans = sorted((min(reach[list(b.pairs)]), max(reach[list(b.pairs)])) for b in taken)
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(spans[:-1]))
    again = source.take(steps, CPU, rows)
    assert again.pairs == taken[0].pairs


def test_the_order_of_buckets_is_the_seeds():
    def order(seed):
        source = source_of(seed, batching="bucketed", seq_len=128)
        return [source.take(step, CPU).ids.shape[1] for step in range(40)]

    assert order(1) == order(1) != order(2)
    assert len(set(order(1))) > 10  # short and long ones in turns


def test_buckets_pad_next_to_nothing():
    """FACTS of the table: padded to the batch's longest 1.54 and 2.57 times the real tokens."""

    def given(batching, batch):
        source = source_of(batching=batching, seq_len=1024, prompt_len=1000, batch=batch)
        taken = [source.take(step, CPU) for step in range(0, source.kept // batch, 4)]
        return sum(b.ids.numel() for b in taken) / sum(b.real_tokens for b in taken)

    assert given("padded", 2) == pytest.approx(1.54, abs=0.1)
    assert given("padded", 8) == pytest.approx(2.57, abs=0.2)
    assert given("bucketed", 8) < 1.3


@pytest.mark.parametrize("method", ["dpo", "sft", "grpo", "ppo"])
@pytest.mark.parametrize("batching", OWN)
def test_no_batch_is_larger_than_the_longest(method, batching):
    """In rows and responses, or packed in tokens; its shape is known without its tokens."""
    from alignmeter.methods import open_method

    rows = open_method(method).rows
    source = source_of(method=method, batching=batching, seq_len=512, batch=4)
    longest, shape = source.longest(CPU, rows), source.longest_shape(rows)
    assert (longest.spans.prompts, longest.spans.lengths) == (shape.prompts, shape.lengths)
    assert longest.pairs == shape.pairs
    for step in range(0, 200, 3):
        batch = source.take(step, CPU, rows)
        if method in ("grpo", "ppo"):  # prompts are padded, responses sampled
            assert max(batch.spans.prompts) <= max(longest.spans.prompts)
        elif batching == "packed":
            assert batch.real_tokens <= longest.real_tokens
        else:
            assert batch.ids.shape[1] <= longest.ids.shape[1]
            assert batch.spans.width <= longest.spans.width


def test_rows_of_one_length_have_no_longest():
    with pytest.raises(ValueError, match="no longest"):
        source_of(batching="fixed", seq_len=32, prompt_len=8).longest(CPU)


def written(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


PAIRS = [
    {"prompt": "p" * n, "chosen": f"{'a' * (40 - n)} yes", "rejected": f"{'a' * (40 - n)} no"}
    for n in range(1, 40)
]


def test_a_files_own_lengths_and_its_equal_answers(tmp_path):
    """T 32, P 8: of a prompt of n bytes min(n, 8) are kept; answers differ at byte 41 - n, and are
    equal if no more than 31 - min(n, 8) of their bytes are left.
    """
    data = written(tmp_path, PAIRS)
    cell = cell_of(data=data, seq_len=32, prompt_len=8, batching="padded", batch=1)
    equal = [n for n in range(1, 40) if 41 - n >= 31 - min(n, 8)]
    shared = pickle.loads(pickle.dumps(share_rows(cell)))  # noqa: S301 - as a worker gets it
    for source in (
        open_batches(cell, vocab_size=512, seed=0),
        open_batches(cell, vocab_size=512, seed=0, shared=shared),
    ):
        assert source.counts == {
            "rows": 39, "pairs_kept": 39 - len(equal), "pairs_dropped": len(equal),
            "dropped_equal_once_cut": len(equal),
        }  # fmt: skip
        for number, found in enumerate(source.lengths.tolist()):
            sides = source.rows[number]
            assert found[1:] == [len(side) for side in sides]
            assert found[0] == min(sides[0].count(3 + ord("p")), 8)


def test_a_cut_of_its_own_for_each_pair_is_that_of_the_tokens(tmp_path):
    texts = open_dataset(written(tmp_path, PAIRS)).texts
    copied = [texts[number] for number in range(len(texts))]
    there, made = (lengths.measure(some, ByteTokenizer()) for some in (texts, copied))
    assert there.answers.tolist() == made.answers.tolist()
    cuts = np.arange(len(PAIRS))
    found = there.equal_once_cut(cuts)
    assert found.tolist() == made.equal_once_cut(cuts).tolist()
    assert 0 < found.sum() < len(PAIRS)


LABELS = [True, False, False, True, True, False, True, True]
UNPAIRED = [
    {"Prompt": f"question {n}", "completion": f"answer {n}", "label": label, "score": 3}
    for n, label in enumerate(LABELS)
]


@pytest.mark.parametrize("batching", ["fixed", "padded", "bucketed"])
def test_unpaired_rows_are_ktos_with_their_labels(tmp_path, batching):
    """A batch may be of any mix; each row is its prompt, its answer and the end of text."""
    cell = cell_of(
        data=written(tmp_path, UNPAIRED), method="kto", batching=batching, seq_len=40, prompt_len=10
    )
    source = open_batches(cell, vocab_size=512, seed=0)
    assert source.counts == {"rows": 8, "pairs_kept": 8, "pairs_dropped": 0}
    assert source.layout == "unpaired"
    seen = set()
    for step in range(2):
        batch = source.take(step, CPU, "unpaired")
        assert len(batch.ids) == 4
        for ids, desirable in zip(batch.ids.tolist(), batch.desirable.tolist(), strict=True):
            text = ByteTokenizer().decode(ids)
            number = int(text[-1])
            assert text == f"question {number}answer {number}"
            assert desirable is LABELS[number]
            seen.add(number)
    assert seen == set(range(8))


def test_pairs_give_kto_both_of_their_rows():
    batch = source_of(method="kto", seq_len=16, batching="fixed").take(0, CPU, "unpaired")
    assert batch.desirable is None
    assert len(batch.pairs) == 2
    assert len(batch.ids) == 4


@pytest.mark.parametrize("batching", ["fixed", "padded"])
def test_prompts_alone_are_data_of_rollouts(tmp_path, batching):
    rows = [{"prompt": f"a prompt, {n}"} for n in range(8)]
    cell = cell_of(
        data=written(tmp_path, rows), method="grpo", batching=batching, seq_len=24, prompt_len=8
    )
    source = open_batches(cell, vocab_size=512, seed=0)
    assert source.layout == "prompts"
    batch = source.take(0, CPU, "groups")
    assert {ByteTokenizer().decode(row)[:6] for row in batch.prompts.tolist()} == {"rompt,"}
    assert not batch.response_mask.any()


@pytest.mark.parametrize(
    ("rows", "axes", "words"),
    [
        (UNPAIRED, {"method": "dpo"}, "data of kto; dpo wants prompts with chosen and rejected"),
        (UNPAIRED, {"method": "grpo"}, "grpo wants prompts, alone or with chosen and rejected"),
        ([{"prompt": "p"}], {"method": "sft"}, "of ppo, grpo, rloo, distill; sft wants chosen"),
        ([{"prompt": "p"}], {"method": "grpo", "reward": "exact-match"}, "exact-match compares"),
    ],
)
def test_rows_of_another_kind_are_refused_at_the_door(tmp_path, rows, axes, words):
    planned = resolve_cell({"accelerator": "cpu", "data": written(tmp_path, rows), **axes})
    assert planned.unsupported.code == "rows_unfit"
    assert words in planned.unsupported.text
    assert len(planned.unsupported.text) - len(str(tmp_path)) < 200


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*UNPAIRED, {"prompt": "p"}], "line 9: prompts alone, but the rows before it are compl"),
        ([PAIRS[0], UNPAIRED[0]], "line 2: completions with a label, but the rows before it"),
        ([{**UNPAIRED[0], "label": "maybe"}], "line 1: field 'label' must be true or false, got"),
    ],
)
def test_a_file_holds_rows_of_one_kind(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        data_digest(written(tmp_path, rows))


COLUMNS = "prompt=q,completion=a[0].text,label=good"


def test_columns_of_unpaired_rows_are_named(tmp_path):
    """As those of pairs are; what such a row has besides is not taken for a field of a pair."""
    rows = [
        {
            "q": f"q {n}",
            "a": [{"text": f"a {n}"}],
            "good": n % 2 == 0,
            "chosen": "x",
            "label": n > 3,
        }
        for n in range(8)
    ]
    path = written(tmp_path, rows)
    source = open_batches(
        cell_of(data=path, columns=COLUMNS, method="kto", seq_len=16, prompt_len=8,
                batching="padded"), vocab_size=512, seed=0,
    )  # fmt: skip
    assert source.layout == "unpaired"
    batch = source.take(0, CPU, "unpaired")
    texts = [ByteTokenizer().decode(row) for row in batch.ids.tolist()]
    for text, good in zip(texts, batch.desirable.tolist(), strict=True):
        number = text[2]
        assert text == f"q {number}a {number}"
        assert good == (int(number) % 2 == 0)
    assert data_digest(path, COLUMNS) != data_digest(path, COLUMNS.replace("good", "label"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("prompt=q,completion=a", "line 1: field 'label' is missing; no known layout in the"),
        ("completion=a", "name them with --columns prompt=NAME,completion=NAME,label=NAME"),
        ("prompt=q,chosen=a", "field 'rejected' is missing; .* prompt=NAME,chosen=NAME,rejected"),
    ],
)
def test_a_field_that_no_column_was_named_for_is_told(tmp_path, columns, words):
    with pytest.raises(InputError, match=words):
        data_digest(written(tmp_path, [{"q": "p", "a": "c"}]), columns)


def test_labels_of_a_table_are_text(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,label\np,good,True\np,bad,0\n")
    pairs = open_dataset(str(path)).texts
    assert [(pair.chosen, pair.rejected) for pair in map(pairs.__getitem__, range(2))] == [
        ("good", None), (None, "bad"),
    ]  # fmt: skip


def test_an_empty_completion_is_counted(tmp_path):
    rows = [*UNPAIRED, {**UNPAIRED[0], "completion": " "}, {**UNPAIRED[0], "Prompt": ""}]
    cell = cell_of(data=written(tmp_path, rows), method="kto", seq_len=40, batching="padded")
    counts = open_batches(cell, vocab_size=512, seed=0).counts
    assert (counts["dropped_answer_blank"], counts["dropped_prompt_empty"]) == (1, 1)
    assert counts["pairs_kept"] == 8


def test_a_table_that_is_not_there_names_those_that_are():
    with pytest.raises(InputError, match="'lengths:x' is no table of lengths; known: lengths:hh"):
        data_digest("lengths:x")


def test_drawn_rows_share_a_prompt_and_follow_the_seed():
    first, again, other = (
        source_of(seed, batching="padded", seq_len=128).take(0, CPU) for seed in (0, 0, 1)
    )
    assert torch.equal(first.ids, again.ids)
    assert not torch.equal(first.ids[:, :8], other.ids[:, :8])
    for row in range(2):
        prompt = first.spans.prompts[row]
        assert torch.equal(first.ids[row, :prompt], first.ids[row + 2, :prompt])


def test_responses_are_found_at_their_places():
    """Rows of 6: prompts of 2 and 3, responses of 3 and 1; by hand."""
    spans = Spans.of([2, 3], [5, 4], CPU, row_len=6)
    values = torch.arange(12).view(2, 6)
    assert at_responses(values, spans)[0].tolist() == [2, 3, 4]
    assert at_responses(values, spans)[1, :1].tolist() == [9]
    assert at_responses(values, spans, shift=-1)[0].tolist() == [1, 2, 3]
    assert spans.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ends(values, spans).tolist() == [4, 9]
    assert at_responses(values[:, 1:], moved(spans, -1))[0].tolist() == [2, 3, 4]
    assert at_responses(values, 2).tolist() == values[:, 2:].tolist()
    assert at_responses(values, 2, shift=-1).tolist() == values[:, 1:-1].tolist()
    assert ends(values, 2).tolist() == [5, 11]
    assert spans.rows([1], row_len=6).prompts == (3,)
