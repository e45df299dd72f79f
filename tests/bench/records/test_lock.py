"""The lock of a folder: whom it keeps out, and that nothing outlives the process that holds it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest

from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders
from alignmeter.records.lock import locked

KILLED = """
import os, subprocess, sys, time
from multiprocessing import get_context
from pathlib import Path
from alignmeter.records.lock import locked

def start(how):
    if how == "subprocess":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    child = get_context(how).Process(target=time.sleep, args=(100,))
    child.start()
    return child

with locked(Path(sys.argv[1])):
    Path(sys.argv[1], f".x.json.{os.getpid()}.partial").write_text("{")
    print(*(start(how).pid for how in sys.argv[2:]), flush=True)
    os.kill(os.getpid(), 9)
"""


def killed(out, *children):
    """Lock ``out`` in a process with such children and kill it; the ids of the children."""
    command = [sys.executable, "-P", "-c", KILLED, out, *children]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with closing(process.stdout) as said:
            pids = [int(pid) for pid in said.readline().split()]
        assert process.wait() == -signal.SIGKILL
    return pids


def test_a_lock_and_half_a_file_go_with_their_process(tmp_path):
    out = tmp_path / "out"
    killed(out)
    living = out / f".y.json.{os.getppid()}.partial"  # of a process that may still write
    living.write_text("{")
    assert len(list(out.glob("*.partial"))) == 2
    assert load_folders([out]).refused == []
    with locked(out):
        assert (out / ".lock").read_text() == f"{os.getpid()}\n"
        assert list(out.glob("*.partial")) == [living]


@pytest.mark.parametrize("how", ["fork", "forkserver", "subprocess"])
def test_a_child_of_a_killed_process_does_not_hold_its_lock(tmp_path, how):
    (pid,) = killed(tmp_path, how)
    child = psutil.Process(pid)
    try:
        free_within(10, tmp_path)  # a child lets go as its first act, maybe after its parent's end
        assert child.status() != psutil.STATUS_ZOMBIE
    finally:
        child.kill()


def free_within(seconds, folder):
    end = time.monotonic() + seconds
    while True:
        try:
            with locked(folder):
                return
        except InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def test_a_child_that_ends_leaves_the_lock_with_its_parent(tmp_path):
    try:
        with locked(tmp_path):
            pid = os.fork()
            if pid == 0:
                raise ChildProcessError  # leaves the block, as a child's error would
            assert os.waitpid(pid, 0) == (pid, 0)
            assert_refused(tmp_path)
    except ChildProcessError:
        os._exit(0)


def assert_refused(folder):
    """Another process cannot lock it, and says who has it."""
    code = (
        "import sys; from pathlib import Path; from alignmeter.records.lock import locked; "
        "locked(Path(sys.argv[1])).__enter__()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{folder}: another run (process {os.getpid()}) writes here; wait for" in done.stderr


def test_a_folder_is_locked_once_within_a_process_too(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(InputError, match=rf"another run \(process {os.getpid()}\) writes here"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):  # it was let go
        pass


@pytest.mark.parametrize("said", [b"", b"\x1b[31m\n", b"\xff\xfe"])
def test_a_holder_that_did_not_say_who_it_is_is_unknown(tmp_path, said):
    with locked(tmp_path):
        (tmp_path / ".lock").write_bytes(said)
        with pytest.raises(InputError, match=r"\(process unknown\)"), locked(tmp_path):
            pass


@pytest.mark.parametrize("number", [37, 38, 95])  # ENOLCK, ENOSYS, EOPNOTSUPP on Linux
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, number):
    def no_locks(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with (
        pytest.raises(InputError, match=rf"no lock \({os.strerror(number)}\); give a folder"),
        locked(tmp_path / "out"),
    ):
        pass


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    why = "there is a file where a folder is wanted"
    for folder in ("file", "file/out"):
        place = tmp_path / folder
        with pytest.raises(InputError, match=f"{place}: cannot be written: {why}"), locked(place):
            pass
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")  # what it points to stays as it is
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
