"""Folders of shards: in name order, of one kind, and none of them lost."""

import json
import os

import pytest

from alignmeter.batches import data_digest, read_preferences
from alignmeter.errors import InputError

ROW = {"prompt": "p", "chosen": "c", "rejected": "r"}
LINE = json.dumps(ROW)


def saved(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))


def test_a_folder_is_its_shards_in_name_order(tmp_path):
    for number in (2, 0, 1):
        row = {**ROW, "chosen": str(number)}
        saved(tmp_path / f"train-0000{number}-of-00003.jsonl", row)
    (tmp_path / "README.md").write_text("about it")
    (tmp_path / ".train.jsonl").write_text("a half-written shard")
    assert [pair.chosen for pair in read_preferences(str(tmp_path))[0]] == ["0", "1", "2"]
    before = data_digest(str(tmp_path))
    (tmp_path / "train-00001-of-00003.jsonl").write_text(json.dumps({**ROW, "chosen": "3"}))
    assert data_digest(str(tmp_path)) != before


def test_a_wrong_row_of_a_shard_is_named(tmp_path):
    saved(tmp_path / "a.jsonl", ROW)
    saved(tmp_path / "b.jsonl", ROW, {**ROW, "chosen": 3})
    with pytest.raises(InputError, match=r"/b.jsonl, line 2: field 'chosen' must be text"):
        read_preferences(str(tmp_path))


SHARD = "train-{:05}-of-{:05}.jsonl".format


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([SHARD(0, 5), SHARD(3, 5)], "3 shards of 5 missing, the first train-00001; fetch what is"),
        ([SHARD(1, 3), SHARD(3, 3)], "1 shard of 3 missing, the first train-00002; fetch what is"),
        ([SHARD(0, 2)], "1 shard of 2 missing, the first train-00001; fetch what is missing, or"),
        (
            ["a-0-of-99999999999999.jsonl", "a-7-of-99999999999999.jsonl"],
            "the first a-00001; fetch",
        ),
        ([SHARD(0, 3), SHARD(7, 3), SHARD(2, 3)], "1 shard of 3 missing, the first train-00001;"),
        (["part_1of3.csv", "part_3of3.csv"], "1 shard of 3 missing, the first part_00002"),
        ([SHARD(0, 2), SHARD(1, 2), SHARD(0, 1)], "shards of two counts in one folder; keep those"),
    ],
)
def test_a_lost_shard_is_named(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_text(LINE)
    with pytest.raises(InputError, match=words):
        read_preferences(str(tmp_path))


@pytest.mark.parametrize("counts", [[SHARD(1, 2), SHARD(2, 2)], [SHARD(0, 1), "more-0-of-1.jsonl"]])
def test_numbers_begin_with_0_or_1_for_each_name(tmp_path, counts):
    for name in counts:
        (tmp_path / name).write_text(LINE)
    assert len(read_preferences(str(tmp_path))[0]) == 2


def test_what_is_behind_a_shards_name_must_be_a_file(tmp_path):
    (tmp_path / "a.jsonl").write_text(LINE)
    (tmp_path / "b.jsonl").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"b.jsonl in it is a link to nothing; put the file there"):
        read_preferences(str(tmp_path))
    (tmp_path / "b.jsonl").unlink()
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"b.jsonl in it is no regular file; put the file there"):
        read_preferences(str(tmp_path))


def test_a_folder_says_where_its_shards_are(tmp_path):
    (tmp_path / "x" / "data").mkdir(parents=True)
    (tmp_path / "x" / "data" / "a.jsonl").write_text(LINE)
    with pytest.raises(InputError, match=r"a folder without .* files; x/data in it has some"):
        read_preferences(str(tmp_path))


def test_a_long_path_leaves_room_for_what_is_wrong(tmp_path):
    folder = tmp_path / ("f" * 200) / ("g" * 200)
    folder.mkdir(parents=True)
    (folder / "r.jsonl").write_text('{"a": 1}')
    for data in (folder, folder / "r.jsonl"):
        with pytest.raises(InputError, match=r"^\.\.\.g+/r.jsonl, line 1: no known") as caught:
            read_preferences(str(data))
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "a folder without .jsonl"),
        (["a.jsonl", "b.csv"], "a folder of csv and jsonl files; keep shards of one kind"),
        (["train-0.jsonl", "test-0.jsonl"], "a folder of test and train shards"),
    ],
)
def test_a_folder_of_several_things_is_refused(tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_text(LINE)
    with pytest.raises(InputError, match=words):
        read_preferences(str(tmp_path))
