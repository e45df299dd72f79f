"""A disk that is full, a folder that cannot be written, files that no record can be."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from made_records import make_record
from started_runs import finish, orphans, start, wait_for_records, whole_records

from alignmeter.errors import InputError
from alignmeter.records.folder import (
    load_folders,
    record_path,
    timeline_path,
    write_bytes,
    write_record,
)
from alignmeter.records.lock import locked
from alignmeter.records.timeline import Timeline

REMEDY = "a user who may mount (root, or a container with CAP_SYS_ADMIN) enables this test"


def mount(*arguments):
    """Skips where this machine does not let us."""
    try:
        done = subprocess.run(
            ["mount", *arguments],  # noqa: S607 - the system's own
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip(f"no mount command here; {REMEDY}")
    if done.returncode != 0:
        pytest.skip(f"{done.stderr.strip()}; {REMEDY}")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    yield place
    while os.path.ismount(place):
        subprocess.run(["umount", "-l", place], check=True)  # noqa: S607 - the system's own


def fill(disk):
    """A file that takes all that is left."""
    filled = disk / "filled"
    with filled.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            return filled
    return filled


@pytest.mark.exhaustive
@pytest.mark.parametrize("when", ["before", "after the first record"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(when, small_disk):
    if when == "before":
        filled = fill(small_disk)
    process = start(small_disk, "--steps", "1", "--sample-hz", "0")
    if when != "before":
        wait_for_records(process, small_disk)
        filled = fill(small_disk)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 2
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert orphans(small_disk) == []
    before = len(whole_records(small_disk))
    assert before == (when != "before")
    assert not list((small_disk / "out").glob("*.partial"))
    filled.unlink()
    assert finish(small_disk, "--steps", "1", "--sample-hz", "0").count("already there") == before


@pytest.mark.exhaustive
def test_a_folder_that_turns_read_only_is_one_sentence_and_loses_nothing(small_disk):
    process = start(small_disk, "--steps", "1")
    wait_for_records(process, small_disk)
    # Another mount of the same folder on top: the run holds its lock in the first.
    mount("--bind", small_disk / "out", small_disk / "out")
    mount("-o", "remount,bind,ro", small_disk / "out")
    _, said = process.communicate(timeout=150)
    assert process.returncode == 2
    assert "cannot be written: Read-only file system" in said
    assert "Traceback" not in said
    again = start(small_disk, "--steps", "1")
    _, said = again.communicate(timeout=150)
    assert again.returncode == 2
    assert "out: cannot be written: Read-only file system" in said
    subprocess.run(["umount", small_disk / "out"], check=True)  # noqa: S607 - the system's own
    before = len(whole_records(small_disk))
    assert orphans(small_disk) == []
    assert finish(small_disk, "--steps", "1").count("already there") == before >= 1


def test_a_folder_that_cannot_be_written_is_one_sentence():
    with pytest.raises(InputError, match="cannot be written"), locked(Path("/proc/nowhere")):
        pass
    with pytest.raises(InputError, match="cannot be written"):
        write_bytes(Path("/proc/nowhere/x.json"), b"1")
    for timeline in (None, Timeline()):
        with pytest.raises(InputError, match="cannot be written"):
            write_record(Path("/proc/nowhere"), make_record(), timeline)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_record_and_its_timeline_are_replaced_together_or_not(tmp_path, monkeypatch, fails_at):
    """A disk that fills between the two leaves the old ones, which belong together."""
    record = make_record(peak=1)
    write_record(tmp_path, record, Timeline())
    path = record_path(tmp_path, record.cell.id, 0)
    paths = [path, timeline_path(path)]
    old = [path.read_bytes() for path in paths]
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == fails_at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    sample = {"time_s": 1.0, "throttles": ""}
    with pytest.raises(InputError, match="No space left on device"):
        write_record(tmp_path, make_record(peak=2), Timeline(samples=[sample]))
    assert [path.read_bytes() for path in paths] == old
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_record_without_a_timeline_has_none_beside_it(tmp_path):
    write_record(tmp_path, make_record(peak=1), Timeline())
    path = write_record(tmp_path, make_record(peak=2))
    assert list(tmp_path.iterdir()) == [path]


def test_what_can_be_no_record_is_refused_unread(tmp_path):
    """10 GiB of nothing, a pipe that nobody writes, a folder, a link to itself or to endless."""
    good = write_record(tmp_path, make_record())
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(10 << 30)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    loaded = load_folders([tmp_path])
    assert [r.replicate for r in loaded.records] == [0]
    said = {Path(s.partition(":")[0]).stem: s.partition(": ")[2] for s in loaded.refused}
    assert said == {
        "huge": "10 GiB, and no record has more than 64 MiB",
        "pipe": "not a file; a record is one",
        "folder": "not a file; a record is one",
        "loop": "cannot be read: Too many levels of symbolic links",
        "endless": "not a file; a record is one",
    }
    assert good.is_file()


def test_what_a_bad_file_says_is_one_short_line(tmp_path):
    name = os.fsdecode(b"bad\xff\n.json")
    data = msgspec.json.encode({"schema_version": 1, "x\n" * 10_000: 1})
    (tmp_path / name).write_bytes(data)
    (sentence,) = load_folders([tmp_path]).refused
    assert "bad\\udcff\\n.json" in sentence
    assert sentence.isprintable()
    assert len(sentence.encode()) < 600
