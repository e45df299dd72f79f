"""Containers of preference files: what bytes are, whatever the name says, and folders of shards."""

import bz2
import csv
import gzip
import json
import lzma

import pandas
import pyarrow
import pytest

from alignmeter.batches import data_digest, read_preferences
from alignmeter.errors import InputError

ROW = {"prompt": "p, \u00fc\n2", "chosen": 'c "1"', "rejected": "r"}
LINE = json.dumps(ROW, ensure_ascii=False)


def rows_of(path):
    return [(p.prompt, p.chosen, p.rejected) for p in read_preferences(str(path))[0]]


def zstd(data):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def saved(path, kind, rows):
    if kind in ("csv", "tsv"):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=",\t"[kind == "tsv"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    elif kind == "parquet":
        pandas.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return path


@pytest.mark.parametrize("packed", ["", *COMPRESS])
@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "JSONL"])
def test_every_kind_compressed_or_not(tmp_path, kind, packed):
    path = saved(tmp_path / f"rows.{kind}", kind, [ROW, {**ROW, "chosen": "d"}])
    if packed:
        path = tmp_path / f"rows.{kind}.{packed}"
        path.write_bytes(COMPRESS[packed]((tmp_path / f"rows.{kind}").read_bytes()))
    assert rows_of(path) == [tuple(ROW.values()), (ROW["prompt"], "d", "r")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_every_unicode_with_and_without_a_mark(tmp_path, kind, encoding):
    path = saved(tmp_path / f"rows.{kind}", kind, [ROW])
    path.write_bytes(path.read_text().encode(encoding))
    assert rows_of(path) == [tuple(ROW.values())]


def test_names_may_be_wrong(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(LINE.encode()))
    (tmp_path / "b.jsonl").write_text(json.dumps([ROW]))
    (tmp_path / "c.json").write_text(f"{LINE}\r\n{LINE}")
    (tmp_path / "d").write_text(LINE)
    saved(tmp_path / "e.jsonl", "parquet", [ROW])
    assert [len(rows_of(path)) for path in sorted(tmp_path.iterdir())] == [1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("r.zip", b"PK\x03\x04rest", "this is a ZIP archive; give JSON Lines, JSON, CSV"),
        ("r.jsonl", b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        ("r.jsonl.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], "gzip data that cannot be unp"),
        ("r.jsonl.xz", lzma.compress(b"x" * 999)[:-9], "xz data that cannot be unpacked"),
        ("r.parquet", b"PAR1 and no more", "not a Parquet file that can be read"),
        ("r.parquet", LINE.encode(), "not a Parquet file that can be read: it does not begin"),
        ("r.jsonl", LINE.encode("latin-1"), "r.jsonl, line 1: not UTF-8"),
        ("r.csv", LINE.encode("latin-1"), "r.csv: not CSV that can be read"),
        ("r.csv", b'prompt,chosen,rejected\n"a,b,c', "not CSV that can be read"),
        ("r.csv", b"prompt,chosen,rejected\na,b,c,d\n", "not CSV that can be read"),
        ("r.csv", b"prompt,chosen,rejected\na,b,c\na,b,c,d\n", "Expected 3 fields in line 3"),
        ("r.jsonl", b'{"n": ' + b"1" * 5000 + b"}", "line 1: not valid JSON: Exceeds the limit"),
        ("r.csv", b"", "not CSV that can be read"),
        ("r.csv", b"prompt,chosen,rejected\n", "no preference rows"),
        ("r.csv", b"prompt;chosen;rejected\na;b;c\n", "in the columns prompt;chosen;rejected"),
        ("r.json", b'{"data": [{}]}', "row 1: no known layout in the columns data"),
        ("r.json", b"[1]", "row 1: want an object with prompt, chosen and rejected"),
        (
            "r.jsonl",
            b'{"prompt": "p", "label": 3, "completion": "c"}',
            "field 'label' must be true",
        ),
        ("r.jsonl", b'{"prompt": "p", "chosen": "c"}', "line 1: field 'rejected' is missing"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_sentence(tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_preferences(str(path))
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


def test_a_folder_is_its_shards_in_name_order(tmp_path):
    for number in (2, 0, 1):
        row = {**ROW, "chosen": str(number)}
        saved(tmp_path / f"train-0000{number}-of-00003.jsonl", "jsonl", [row])
    (tmp_path / "README.md").write_text("about it")
    (tmp_path / ".train.jsonl").write_text("a half-written shard")
    assert [chosen for _, chosen, _ in rows_of(tmp_path)] == ["0", "1", "2"]
    before = data_digest(str(tmp_path))
    (tmp_path / "train-00001-of-00003.jsonl").write_text(json.dumps({**ROW, "chosen": "3"}))
    assert data_digest(str(tmp_path)) != before


def test_a_wrong_row_of_a_shard_is_named(tmp_path):
    saved(tmp_path / "a.jsonl", "jsonl", [ROW])
    saved(tmp_path / "b.jsonl", "jsonl", [ROW, {**ROW, "chosen": 3}])
    with pytest.raises(InputError, match=r"/b.jsonl, line 2: field 'chosen' must be text"):
        read_preferences(str(tmp_path))


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


COLUMNS = "prompt=q,chosen=answers[0].text,rejected=answers[1].text"


def test_columns_are_named_by_path(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"q": "p", "answers": [{"text": "c"}, {"text": "r"}], "x.y": "z"}))
    (pair,), found = read_preferences(str(path), COLUMNS)
    assert (pair.prompt, pair.chosen, pair.rejected, found.layout) == ("p", "c", "r", "plain")
    (pair,), _ = read_preferences(str(path), COLUMNS.replace("answers[1].text", "x.y"))
    assert pair.rejected == "z"
    assert data_digest(str(path), COLUMNS) != data_digest(str(path), COLUMNS.replace("1", "0"))


def test_columns_of_parquet_and_those_that_keep_their_name(tmp_path):
    path = saved(tmp_path / "r.parquet", "parquet", [{"prompt": "p", "good": "c", "Rejected": "r"}])
    (pair,), _ = read_preferences(str(path), "chosen=good")
    assert (pair.prompt, pair.chosen, pair.rejected) == ("p", "c", "r")


@pytest.mark.parametrize(
    "column", ["none", "q.x", "answers[7]", "answers.text", "answers[0", "[0]"]
)
def test_a_column_that_is_not_there_is_named(tmp_path, column):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"q": "p", "answers": ["c", "r"]}))
    with pytest.raises(InputError) as caught:
        read_preferences(str(path), f"prompt={column},chosen=q,rejected=q")
    assert f"names '{column}', which is not there; the columns are q, answers" in str(caught.value)
