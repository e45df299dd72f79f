"""`alignmeter run` as a process of its own, with all that it starts, for tests that end it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from alignmeter.records.folder import load_folders, timeline_path
from alignmeter.records.timeline import decode_timeline

COMMAND = Path(sys.executable).with_name("alignmeter")
SMALL = [
    "run", "--architecture", "llama", "--seq-len", "16", "--data", "synthetic", "--accelerator",
    "cpu", "--kernels", "stock", "--peft", "full", "--no-plan", "--no-retry-invalid",
]  # fmt: skip
"""Two cells: DPO and PPO."""


def _default_signals():
    # A test run that a shell started in the background hands down an ignored SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(folder, *more, **changes):
    """The run, in ``folder``, with its records in ``out`` there; ``changes`` to the environment."""
    return subprocess.Popen(
        [COMMAND, *SMALL, "--out", "out", *map(str, more)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_default_signals, start_new_session=True, env={**os.environ, **changes},
    )  # fmt: skip


def finish(folder, *more):
    """The same to its end."""
    process = start(folder, *more)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said
    return said


def tree_of(process):
    """It and what descends from it: forkserver, worker, sampler."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes):
    """SIGKILL to each that is still there."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def orphans(folder, seconds=60.0):
    """Command lines of what still works in ``folder`` so long after: a run's processes all do.

    A forkserver ends when its imports are done: seconds, and more on a busy host.
    """
    end = time.monotonic() + seconds
    while (found := _working_in(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _working_in(folder):
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
        except psutil.Error:
            continue  # it ended, or it is not ours
    return found


def wait_for_records(process, folder, count=1):
    """Until so many are there; the run must still be running."""
    deadline = time.monotonic() + 100
    while len(list(folder.glob("out/*.r?.json"))) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def whole_records(folder):
    """All records of ``folder / "out"``: each reads, and so does its timeline."""
    out = folder / "out"
    if not out.is_dir():
        return []
    loaded = load_folders([out])
    assert loaded.refused == []
    for record, file in zip(loaded.records, loaded.paths, strict=True):
        if record.telemetry.samples:
            path = timeline_path(file)
            rows = decode_timeline(path.read_bytes(), str(path)).samples
            assert len(rows) == record.telemetry.samples
    return loaded.records
