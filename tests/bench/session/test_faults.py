"""Whatever ends a run: finished records are whole, it can go on, and nothing stays behind."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from preloaded_runs import PreloadedRuns
from started_runs import (
    COMMAND,
    SMALL,
    finish,
    kill,
    orphans,
    start,
    tree_of,
    wait_for_records,
    whole_records,
)

from alignmeter.records.lock import locked

MANY = [
    *SMALL, "--method", "sft,rm,dpo,ppo", "--peft", "full,lora", "--steps", "1", "--warmup", "1",
    "--out", "out",
]  # fmt: skip
"""Eight cells of about half a second each."""


def await_worker(process):
    """Until its forkserver has a child, or it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while not any(p.ppid() != process.pid for p in process.children(recursive=True)):
            time.sleep(0.05)


class Lane:
    """A run, killed and started again until it is done, then the next. Counts what it sees."""

    def __init__(self, folder, seed):
        self.folder, self.draw = folder, random.Random(f"kills {seed}")
        self.runs, self.places, self.kills, self.workers = PreloadedRuns(), 0, 0, 0
        self.lost, self.half, self.orphans, self.spoilt, self.records = [], [], [], [], 0
        self.begin()

    def begin(self):
        self.place = self.folder / str(self.places)
        self.place.mkdir(parents=True)
        (self.place / "said").touch()
        self.kept = {}
        self.places += 1

    def strike(self):
        """Let it run for a random while, kill all of it or its parent alone, and look."""
        process = self.runs.start(self.place, MANY)
        if self.draw.random() < 0.75:
            await_worker(process)
        time.sleep(self.draw.uniform(0.0, 5.0))
        tree = tree_of(process)
        self.draw.shuffle(tree)
        whole = self.draw.random() < 0.5
        kill(tree if whole else [p for p in tree if p.pid == process.pid])
        code = self.runs.wait()
        self.kills += code == -signal.SIGKILL
        self.workers += code == -signal.SIGKILL and len(tree) >= 4
        self.look()
        if code != -signal.SIGKILL:  # it was done before
            assert code == 0, (self.place / "said").read_text()
            self.end()
            self.begin()

    def look(self):
        said = (self.place / "said").read_text()
        self.orphans += orphans(self.place)
        try:
            stored = whole_records(self.place)
        except AssertionError as error:
            self.half.append(str(error))
            return
        # A worker that was killed before its parent is a record too, and measured again.
        found = {f"{r.cell.id}.r{r.replicate}": r for r in stored if r.status == "ok"}
        self.spoilt += [r for r in stored if r.reason and r.reason.code != "worker_died"]
        announced = set(re.findall(r"^ok +(\S+\.r\d)", said, re.MULTILINE))
        self.lost += announced - found.keys()
        # What was there before is there as it was: neither lost nor measured again.
        self.lost += [name for name, record in self.kept.items() if found.get(name) != record]
        self.kept = found
        with locked(self.place / "out"):  # no lock stays
            self.half += (self.place / "out").glob("*.partial")

    def end(self):
        """The run that was killed so often, done: every cell, once, and ok."""
        records = whole_records(self.place)
        assert [r.status for r in records] == ["ok"] * 8
        self.records += len(records)

    def go(self, kills):
        with contextlib.closing(self.runs):
            return self._go(kills)

    def _go(self, kills):
        while self.kills < kills:
            self.strike()
        self.runs.start(self.place, MANY)
        assert self.runs.wait() == 0, (self.place / "said").read_text()
        self.look()
        self.end()
        return self


@pytest.mark.exhaustive
def test_kill_9_at_50_random_moments(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        lanes = list(pool.map(lambda n: Lane(tmp_path / f"lane{n}", n).go(25), range(2)))
    kills, records, workers = (
        sum(getattr(lane, name) for lane in lanes) for name in ("kills", "records", "workers")
    )
    bad = {
        name: [item for lane in lanes for item in getattr(lane, name)]
        for name in ("lost", "half", "orphans", "spoilt")
    }
    print(  # noqa: T201 - the figures of docs/faults.md
        f"\n{kills} kills, {workers} of them with a worker at work: {records} records, "
        f"{len(bad['lost'])} lost, {len(bad['half'])} half-written, {len(bad['orphans'])} orphans"
    )
    assert bad == {"lost": [], "half": [], "orphans": [], "spoilt": []}
    assert kills == 50


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_its_tree_and_goes_on(tmp_path, number):
    process = start(tmp_path)
    wait_for_records(process, tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command with --out out goes on" in said
    assert orphans(tmp_path) == []
    before = len(whole_records(tmp_path))
    assert finish(tmp_path).count("already there") == before >= 1


def worker_at_work(process):
    """The worker of a run, once there is a sampler for it."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children()
            sampled = any("telemetry.sampler" in " ".join(p.cmdline()) for p in children)
            workers = [worker for child in children for worker in child.children()]
            if sampled and workers:
                return workers[0]
        time.sleep(0.02)
    pytest.fail("no worker within 100 s")


@pytest.mark.exhaustive
def test_a_worker_that_hangs_goes_with_its_parent(tmp_path):
    """It cannot notice anything: the kernel has to end it."""
    process = start(tmp_path, "--steps", "2000")
    try:
        worker = worker_at_work(process)
        worker.suspend()
        while worker.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert orphans(tmp_path) == []


@pytest.mark.exhaustive
def test_of_two_runs_into_one_folder_one_runs(tmp_path):
    both = [start(tmp_path, "--steps", "1") for _ in "ab"]
    said = [process.communicate(timeout=150)[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2]
    refused = both[codes.index(0)].pid
    assert f"out: another run (process {refused}) writes here" in said[codes.index(2)]
    assert [r.status for r in whole_records(tmp_path)] == ["ok", "ok"]


@pytest.mark.full
def test_two_runs_do_not_share_a_folder(tmp_path):
    with locked(tmp_path / "out"):
        done = subprocess.run(
            [COMMAND, *SMALL, "--out", "out"],
            cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"out: another run (process {os.getpid()}) writes here" in done.stderr
    assert not list((tmp_path / "out").glob("*.json"))
