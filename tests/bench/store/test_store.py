"""A store is read as the folders that it was made of, and holds each record once."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from made_history import FULL, LORA, noisy, replicate, runs_of, started, write_runs

from alignmeter.analysis.history import history, read_series
from alignmeter.cli.store import store as command
from alignmeter.errors import InputError
from alignmeter.records.documents import documents_in, parts_of
from alignmeter.records.folder import load_folders, write_record
from alignmeter.store.columns import columns_markdown
from alignmeter.store.compact import compact
from alignmeter.store.rows import PART_SCHEMA, SCHEMA

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "docs" / "sample"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    place = tmp_path_factory.mktemp("sample") / "store"
    done = compact(SAMPLE, place)
    assert (done.records, done.others, done.refused) == (36, 1, [])
    return place


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    new = (6, {"commit": "b" * 40})
    pairs = runs_of(noisy(12, 3, start=6, factor=1.1), change=new)
    return write_runs(tmp_path_factory.mktemp("nights") / "runs", pairs)


def test_a_store_gives_back_every_file_byte_by_byte_and_so_every_record(sample):
    """The sample's records are of the first schema: they are migrated as they are read."""
    found = documents_in(sample, [])
    for path in found.paths:
        assert found.read(path) == (SAMPLE / path.relative_to(sample)).read_bytes()
    assert len(found.paths) == 37
    assert load_folders([sample]).records == load_folders([SAMPLE]).records


def _history(place):
    refused: list[str] = []
    found = history(read_series(place, refused))
    return found, [text.replace(str(place), "DIR") for text in refused]


def test_a_history_of_a_store_is_that_of_its_folders(nights, tmp_path):
    compact(nights, tmp_path)
    assert _history(tmp_path) == _history(nights)
    assert len(_history(tmp_path)[0].changes) == 2


@pytest.fixture(scope="module")
def motley(tmp_path_factory):
    """Nights on two nodes with all that a history has to look at."""
    place = tmp_path_factory.mktemp("motley") / "runs"
    shutil.copytree(SAMPLE, place / "schema1")
    slower = noisy(14, 3, start=7, factor=1.1)
    new = (7, {"commit": "b" * 40, "versions": {"torch": "2.13.0"}})
    write_runs(place, runs_of(slower, name="one/run", change=new))
    write_runs(place, runs_of(noisy(9, 5), made=LORA, name="two/run", host="two"))  # then silent
    write_runs(place, runs_of(noisy(13, 6), made=LORA, name="one/run"))  # then lost
    for number in range(3):
        clocks = {"graphics": 1900.0 + 100 * (number == 2), "memory": 2600.0 + number}
        chip = {"uuid": "GPU", "clocks_mhz": clocks, "device": "H", "kind": "vram"}
        for night, joules in ((3, 40.0), (4, None)):
            bad = ("time",) if (night, number) == (3, 1) else ()
            record = replicate(
                number=number, joules=joules, bad=bad, started=started(night), **chip
            )
            write_runs(place, [(f"gpu/n{night}", record)])
    failed = msgspec.structs.replace(replicate(number=1, started=started(20)), status="crashed")
    write_runs(place, [("one/run-013", failed), ("timeless", replicate(started="then"))])
    shutil.copytree(place / "gpu" / "n3", place / "a" / "deeper" / "copy")
    return place


def test_a_history_by_columns_is_that_of_the_documents_however_motley_they_are(motley, tmp_path):
    """Schemas, changes, invalid and failed records, drifting clocks, lost cells, copies."""
    compact(motley, tmp_path)
    ours, theirs = _history(tmp_path), _history(motley)
    assert ours == theirs
    found, refused = ours
    assert found.changes
    assert found.lost
    assert found.silent
    assert found.invalid["time"] >= 2
    assert "timeless: provenance.started" in refused[0]


@pytest.mark.parametrize("old", [1, 3])
def test_parts_of_a_version_with_other_columns_are_read_by_their_documents(old, motley, tmp_path):
    """``old``: calls of three that an earlier version made."""
    runs, place = tmp_path / "runs", tmp_path / "store"
    for number, name in enumerate(("one", "two", "gpu")):
        shutil.copytree(motley / name, runs / name)
        compact(runs, place)
        for part in parts_of(place) if number < old else ():
            table = pq.read_table(part, partitioning=None).select(SCHEMA.names)
            pq.write_table(table.replace_schema_metadata(None), part)
    assert _history(place) == _history(runs)


def test_a_second_call_adds_what_is_new_and_the_first_record_of_a_path_gives_way(nights, tmp_path):
    folder, place = tmp_path / "runs", tmp_path / "store"
    write_record(folder, FULL)
    (folder / "run.json").write_text("{}")
    assert compact(folder, place).records == 1
    again = compact(folder, place)
    assert (again.records, again.others, again.already) == (0, 0, 2)
    measured_again = runs_of([0.5])[0][1]
    write_record(folder, measured_again)
    assert compact(folder, place).records == 1
    assert load_folders([place]).records == [measured_again]


def test_a_call_that_was_killed_is_finished_by_the_next(nights, tmp_path):
    compact(nights, tmp_path / "whole")
    part = max(parts_of(tmp_path / "whole"), key=lambda part: len(part.parts))
    part.unlink()  # as if it had been killed before this part was renamed
    litter = part.with_name(f".{part.name}.999999999.partial")
    litter.write_bytes(b"PAR1")
    done = compact(nights, tmp_path / "whole")
    assert (done.records, done.already) == (12, 12)
    assert not litter.exists()
    assert len(load_folders([tmp_path / "whole"]).records) == 12


def test_what_is_no_record_is_named_and_left_out(tmp_path):
    write_record(tmp_path / "runs", FULL)
    (tmp_path / "runs" / "broken.json").write_text("{")
    done = CliRunner().invoke(command, ["compact", f"{tmp_path}/runs", "--to", f"{tmp_path}/s"])
    assert (done.exit_code, "broken.json: not an alignmeter record" in done.output) == (2, True)
    assert len(load_folders([tmp_path / "s"]).records) == 1


def test_a_store_of_a_later_version_and_a_broken_part_are_refused_by_name(nights, tmp_path):
    compact(nights, tmp_path)
    parts_of(tmp_path)[0].write_bytes(b"no Parquet")
    (sentence,) = load_folders([tmp_path]).refused
    assert "part-000001.parquet: not a part of a store" in sentence
    (tmp_path / "store.json").write_text(json.dumps({"schema_version": 2}))
    (sentence,) = load_folders([tmp_path]).refused
    assert "store.json: schema_version is 2; this version reads 1" in sentence
    with pytest.raises(InputError, match="no such folder"):
        compact(tmp_path / "none", tmp_path / "other")


def _bitten(part):
    """One bit of a document is another one, as on a disk that fails."""
    data = bytearray(part.read_bytes())
    column = PART_SCHEMA.get_field_index("document")
    chunk = pq.ParquetFile(part).metadata.row_group(0).column(column)
    data[chunk.dictionary_page_offset + chunk.total_compressed_size // 2] ^= 1
    part.write_bytes(data)


@pytest.mark.parametrize("harm", [_bitten, lambda part: part.write_bytes(b"no Parquet")])
def test_whoever_reads_a_broken_part_names_it_and_says_what_to_do(harm, nights, tmp_path):
    """Removed and compacted again, it is whole: the folders are the truth."""
    place = tmp_path / "store"
    compact(nights, place)
    (part,) = (part for part in parts_of(place) if part.parent.name != "others")
    harm(part)
    named = r"part-000001.parquet: not a part of a store \(.*\); remove it, then compact again"
    loaded = load_folders([place])
    assert (loaded.records, re.search(named, loaded.refused[0]) is None) == ([], False)
    if harm is not _bitten:
        with pytest.raises(InputError, match=named):
            compact(nights, place)
    part.unlink()
    assert compact(nights, place).records == len(load_folders([nights]).records)
    assert load_folders([place]).records == load_folders([nights]).records


@pytest.mark.parametrize("accelerator", ["../../..", "a/b", "", "a\0b", "x" * 300, "..", "a=b"])
def test_no_record_names_a_folder_of_its_own(accelerator, tmp_path):
    """Records are untrusted: one of them wrote beside the store."""
    cell = msgspec.structs.replace(FULL.cell, accelerator=accelerator)
    write_record(tmp_path / "runs", msgspec.structs.replace(FULL, cell=cell))
    place = tmp_path / "above" / "store"
    done = compact(tmp_path / "runs", place)
    assert (done.records, done.refused) == (1, [])
    (part,) = parts_of(place)
    assert part.parts[-3] == "in_accelerator=unknown"
    assert {path.name for path in place.iterdir()} == {"store.json", ".lock", "records"}
    assert [path.name for path in place.parent.iterdir()] == ["store"]
    assert load_folders([place]).records[0].cell.accelerator == accelerator


def test_a_copy_of_a_part_counts_once_whatever_it_is_called(nights, tmp_path):
    compact(nights, tmp_path)
    part = parts_of(tmp_path)[-1]
    shutil.copy(part, part.with_name("part-000001 (copy).parquet"))
    shutil.copy(part, part.with_name("part-of-a-synced-folder.parquet"))
    done = compact(nights, tmp_path)
    assert (done.records, done.others, done.refused) == (0, 0, [])
    assert load_folders([tmp_path]).records == load_folders([nights]).records


@pytest.mark.parametrize("inside", ["store", "."])
def test_a_store_within_what_it_is_made_of_is_refused(inside, nights, tmp_path):
    shutil.copytree(nights, tmp_path / "runs")
    with pytest.raises(InputError, match="of which it is made; give one beside it"):
        compact(tmp_path / "runs", tmp_path / "runs" / inside)
    assert not list(tmp_path.rglob("store.json"))


def test_a_folder_that_is_no_store_is_told_from_one(tmp_path):
    pytest.importorskip("duckdb", reason="of the extra lab")
    from alignmeter.store.query import query

    with pytest.raises(InputError, match=r"store.json: no such file; give a folder that `align"):
        query(tmp_path, "SELECT 1")


def test_sql_sees_each_record_once_and_no_other_file(sample, tmp_path):
    pytest.importorskip("duckdb", reason="of the extra lab")
    from alignmeter.store.query import query

    sql = "SELECT method, count(*) AS n, median(step_median_s) FROM records GROUP BY 1 ORDER BY 1"
    found = query(sample, sql)
    assert [row[:2] for row in found.rows] == [("dpo", 18), ("ppo", 18)]
    assert found.csv().splitlines()[0] == "method,n,median(step_median_s)"
    (secret := tmp_path / "secret.csv").write_text("a\n1\n")
    for refused in (f"FROM '{secret}'", "SELECT nothing FROM records", "SET threads = 1"):
        with pytest.raises(InputError, match="the query: "):
            query(sample, refused)
    for nothing in ("", " ", ";", "-- a note"):
        with pytest.raises(InputError, match=r"the query is '.*'; give a SELECT"):
            query(sample, nothing)


def test_the_columns_are_documented():
    """If this fails: python -m alignmeter.store.columns > docs/store-columns.md"""
    assert (ROOT / "docs" / "store-columns.md").read_text() == columns_markdown()
