"""Rows in PostgreSQL: a real server, in a folder of the test, behind a socket there."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from made_history import replicate, started, write_runs

from alignmeter.errors import InputError
from alignmeter.records.documents import parts_of
from alignmeter.records.folder import load_folders
from alignmeter.records.record import decode_record
from alignmeter.store.compact import compact
from alignmeter.store.export import export
from alignmeter.store.rows import COLUMNS

SAMPLE = Path(__file__).parents[3] / "docs" / "sample"
HOSTILE = 'a",b\n\\N{1}\u00e4 \\.'


def _binary(name):
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return there[-1] if there else shutil.which(name)


def _unprivileged(folder):
    """Root may not run a server; who else there is may."""
    if os.getuid() != 0:
        return {}
    os.chown(folder, 65534, 65534)
    return {"user": 65534, "group": 65534, "extra_groups": []}


@pytest.fixture(scope="module")
def url():
    pytest.importorskip("psycopg", reason="of the extra lab")
    if _binary("initdb") is None:
        pytest.skip("no initdb: apt-get install postgresql")
    # Short, for a socket's path has 107 bytes at most; below /tmp, which any user may enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    how = {**_unprivileged(folder), "cwd": "/", "capture_output": True, "text": True}
    data, control = folder / "data", _binary("pg_ctl")
    made = [_binary("initdb"), "-D", data, "-U", "lab", "-A", "trust", "-N", "-E", "UTF8"]
    done = subprocess.run([*made, "--locale=C"], check=False, **how)
    assert done.returncode == 0, done.stderr
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    start = [control, "-D", data, "-w", "-t", "60", "-l", folder / "log", "-o", options, "start"]
    done = subprocess.run(start, check=False, **(how | {"capture_output": False}))
    assert done.returncode == 0, (folder / "log").read_text()
    yield f"postgresql://lab@/postgres?host={folder}"
    subprocess.run([control, "-D", data, "-m", "immediate", "stop"], check=False, **how)
    shutil.rmtree(folder)


@pytest.fixture
def ask(url):
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP TABLE IF EXISTS alignmeter_records")
        yield lambda sql: server.execute(sql).fetchall()


@pytest.mark.full
def test_each_record_is_there_once_and_whole(url, ask, tmp_path):
    compact(SAMPLE, tmp_path)
    assert export(SAMPLE, url)[:2] == (36, 36)
    assert export(SAMPLE, url)[:2] == export(tmp_path, url)[:2] == (36, 0)
    found = ask("SELECT document::text FROM alignmeter_records")
    listed = [decode_record(text.encode(), "row") for (text,) in found]
    records = load_folders([SAMPLE]).records
    assert sorted(listed, key=repr) == sorted(records, key=repr)
    steps = ask("SELECT step_s FROM alignmeter_records ORDER BY cell_id, replicate")
    assert [row[0] for row in steps] == [record.timing.step_s for record in records]
    assert ask("SELECT count(*) FROM alignmeter_records WHERE reason_code IS NOT NULL") == [(0,)]
    (kinds,) = ask("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
    used = ask("SELECT DISTINCT pg_column_compression(document) FROM alignmeter_records")
    assert used == [("lz4" if "lz4" in kinds[0] else "pglz",)]


@pytest.mark.full
def test_a_table_has_the_documented_columns_alone(url, ask, tmp_path):
    """A part of a store has more: what histories read."""
    compact(SAMPLE, tmp_path)
    assert export(tmp_path, url)[:2] == (36, 36)
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = "
    assert {name for (name,) in ask(f"{sql}'alignmeter_records'")} == set(COLUMNS)


@pytest.mark.full
def test_texts_of_any_kind_arrive_as_they_are(url, ask, tmp_path):
    write_runs(tmp_path, [("run", replicate(device=HOSTILE, started=started(0)))])
    assert export(tmp_path, url)[:2] == (1, 1)
    assert ask("SELECT device, driver FROM alignmeter_records") == [(HOSTILE, None)]


@pytest.mark.full
def test_a_table_of_an_older_version_gets_the_columns_that_it_lacks(url, ask):
    export(SAMPLE, url)
    import psycopg

    with psycopg.connect(url) as server:
        server.execute("ALTER TABLE alignmeter_records DROP COLUMN rollout_step_share")
    assert export(SAMPLE, url).new == 0
    assert len(ask("SELECT rollout_step_share FROM alignmeter_records")) == 36


def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
    pytest.importorskip("psycopg", reason="of the extra lab")
    with pytest.raises(InputError, match=r"PostgreSQL: connection .*failed"):
        export(SAMPLE, f"postgresql://lab@/postgres?host={tmp_path}")


@pytest.mark.full
def test_a_broken_part_is_named(url, tmp_path):
    compact(SAMPLE, tmp_path)
    (part,) = (part for part in parts_of(tmp_path) if part.parent.name != "others")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"part-000001.parquet: not a part .*; remove it, then"):
        export(tmp_path, url)
