"""Containers of preference files: what bytes are, whatever the name says."""

import bz2
import csv
import gzip
import json
import lzma

import pandas
import pyarrow
import pytest
from pyarrow import parquet

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


def lz4(data):
    return pyarrow.Codec("lz4").compress(data, asbytes=True)


SKIPPABLE = b"\x5a\x2a\x4d\x18\x04\x00\x00\x00abcd"


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(LINE.encode(), mtime=0) + bytes(512),
        gzip.compress(LINE.encode()[:9], mtime=0) + gzip.compress(LINE.encode()[9:], mtime=0),
        SKIPPABLE + zstd(LINE.encode()),
        SKIPPABLE * 2 + lz4(LINE.encode()),
    ],
    ids=["gzip, padded", "gzip, of two members", "zstd, skippable", "lz4, skippable"],
)
def test_frames_without_data_are_passed_over(tmp_path, data):
    (tmp_path / "r.jsonl").write_bytes(data)
    assert rows_of(tmp_path / "r.jsonl") == [tuple(ROW.values())]


def test_names_may_be_wrong(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(LINE.encode(), mtime=0))
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
        (
            "r.csv",
            b'prompt,chosen,rejected\n"a \\"b\\" c",d,e',
            "line 2 has a quote after a backsl",
        ),
        ("r.tsv", b'prompt\tchosen\trejected\n\\"a\\" b\tc\td', "line 2 has a quote after a backs"),
        ("r.csv", b'prompt,chosen,rejected\n"a"b,c,d', "not CSV that can be read: ',' expected"),
        ("r.csv", b"prompt,chosen,rejected,chosen\na,b,c,d", "column 'chosen' is there twice"),
        ("r.json", LINE.encode("latin-1"), "r.json: not UTF-8: invalid start byte; save it as"),
        (
            "r.gz",
            gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0),
            "r.gz: gzip data within gzip data; unpack",
        ),
        (
            "r.gz",
            gzip.compress(zstd(b"{}"), mtime=0),
            "r.gz: zstd data within gzip data; unpack it once",
        ),
        ("r.json", json.dumps({f"{i}\x1b\n" * 50: 0 for i in range(40)}).encode(), ", and 3"),
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
    assert str(caught.value).isprintable()
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_return_alone_is_part_of_a_field_that_nobody_quoted(tmp_path, end):
    rows = [{**ROW, "chosen": chosen} for chosen in ("a\rb", "\r", "\ufdd0\r\n", "x\r")]
    names = ",".join(ROW)
    fields = (
        ",".join(f'"{v}"' if "\n" in v else v.replace('"', "").replace(",", "") for v in r.values())
        for r in rows
    )
    (tmp_path / "r.csv").write_bytes(end.join([names, *fields]).encode())
    path = tmp_path / "r.csv"
    assert [chosen for _, chosen, _ in rows_of(path)] == ["a\rb", "\ufdd0\r\n", "x\r"]


def test_lines_may_end_with_a_return_alone(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"prompt,chosen,rejected\ra,b,c\rd,e,f\r")
    assert rows_of(tmp_path / "r.csv") == [("a", "b", "c"), ("d", "e", "f")]


def test_a_field_of_csv_may_be_long(tmp_path):
    before = csv.field_size_limit()
    path = saved(tmp_path / "r.csv", "csv", [{**ROW, "chosen": "x" * 200_000}])
    csv.field_size_limit(before)
    assert len(rows_of(path)[0][1]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pyarrow.date32(), 10**9),
        (pyarrow.timestamp("s"), 2**40),
        (pyarrow.date64(), 10**17),
        (pyarrow.timestamp("s", "Nowhere/Land"), 1),
    ],
)
def test_values_of_parquet_that_python_cannot_hold_are_named(tmp_path, kind, value):
    columns = {"prompt": ["p"], "chosen": pyarrow.array([value], kind), "rejected": ["r"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "r.parquet")
    with pytest.raises(
        InputError, match=r"r.parquet: column 'chosen' of type .* cannot be read: .*; give"
    ):
        read_preferences(str(tmp_path / "r.parquet"))


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
