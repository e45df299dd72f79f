"""Nights of a stub command on this machine: what is measured, again, elsewhere, or not at all."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine
from alignmeter.lab.engines.base import ENDED
from alignmeter.lab.status import status_of
from alignmeter.records.folder import load_folders

CPU = 'accelerator = "cpu"'
CUDA = 'accelerator = "cuda"\nchunk = 1'


@pytest.fixture
def stub(tmp_path):
    return StubLab(tmp_path, make_record())


@pytest.fixture(scope="module")
def cells():
    return [make_record(method=method).cell for method in ("dpo", "orpo", "sft")]


def drive(lab, night, plan, *, devices=(), said=None, **limits):
    engine = open_engine("local", lab, devices)
    engine.check()
    tell = [].append if said is None else said.append
    return Driver(night, lab, plan, engine, Limits(**limits), tell).drive()


def test_each_replicate_is_measured_once_and_a_second_run_measures_nothing(stub, cells):
    lab = stub.lab("replicates = 2", here=CPU)
    night, plan = stub.night(lab, cells)
    said = []
    assert drive(lab, night, plan, said=said).complete
    assert said == ["here-0001 on here: 6 records of 6"]
    records = load_folders([night.folder])
    assert len(records.records) == 6
    assert records.refused == []  # what lies beside the records is not taken for one
    assert [name[-1] for _, name, _ in stub.measured()] == list("000111")
    drive(lab, night, plan)
    assert len(stub.measured()) == 6


def test_a_job_of_which_nobody_noted_that_it_was_sent_is_sent_again(stub, cells, monkeypatch):
    lab = stub.lab("replicates = 1", here=CPU)
    night, plan = stub.night(lab, cells)
    monkeypatch.setattr(night, "note_sent", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive(lab, night, plan)
    monkeypatch.undo()
    assert drive(lab, night, plan).complete
    assert [job.job.name for job in night.jobs()] == ["here-0001"]
    assert len(stub.measured()) == len(set(stub.measured())) == 3


def test_what_never_was_measured_comes_first(stub, cells):
    lab = stub.lab("replicates = 1", here=CPU)
    before, _ = stub.night(lab, cells[:2])
    first = before.folder.parent / "n0" / "here"
    first.mkdir(parents=True)
    for cell in cells[:2]:
        (first / f"{cell.id}.r0.json").write_text("")
    night, plan = stub.night(lab, cells)
    drive(lab, night, plan)
    assert stub.measured()[0][1].startswith(cells[2].id)


def test_what_is_temporarily_invalid_is_measured_again_and_both_records_stay(stub, cells):
    lab = stub.lab("replicates = 2\nretries = 1", here=CPU)
    night, plan = stub.night(lab, cells[:1])
    stub.says(busy=True)
    assert drive(lab, night, plan).complete
    assert sorted(night.recorded("here")) == [f"{cells[0].id}.r{k}" for k in (0, 1, 2)]
    (found,) = status_of(night, night.plans(), {})
    assert (found.wanted, found.recorded, found.again) == (3, 3, 1)


@pytest.mark.full
def test_each_device_gets_jobs_of_its_own(stub, cells):
    stub.says(devices=[("cuda", 3)], seconds=0.1)
    lab = stub.lab("replicates = 2", gpu=CUDA)
    night, plan = stub.night(lab, cells)
    assert drive(lab, night, plan, devices=(0, 2)).complete
    assert {device for *_, device in stub.measured()} == {"0", "2"}


@pytest.mark.parametrize("name", ["here.plan", "jobs/here-0001.job", "jobs/here-0001.sent",
                                  "jobs/here-0001.outcome", "here/*.r0.json"])  # fmt: skip
def test_a_broken_file_of_a_night_is_named_and_once_removed_the_night_goes_on(name, stub, cells):
    lab = stub.lab("replicates = 1", here=CPU)
    night, plan = stub.night(lab, cells)
    drive(lab, night, plan)
    broken = next(night.folder.glob(name))
    broken.write_bytes(b"{")
    with pytest.raises(InputError, match=rf"{broken.name}: not .*; remove it: `lab run` "):
        status_of(night, night.plans(), {})
    broken.unlink()
    night.write_plan(plan)
    assert drive(lab, night, plan).complete
    (found,) = status_of(night, night.plans(), {})
    assert (found.wanted, found.recorded) == (3, 3)


def test_numbers_of_devices_are_refused_where_no_class_has_any(stub):
    stub.says(devices=[("cpu", 1)])
    lab = stub.lab(host='accelerator = "cpu"')
    with pytest.raises(InputError, match=r"--devices: no class of .* has devices with numbers; le"):
        open_engine("local", lab, (5,)).check()


def test_a_command_that_answers_something_else_is_named_with_what_is_right(stub):
    stub.command.write_text("#!/bin/sh\necho hello\n")
    named = r"\[class.host\]: `.* devices --json` does not answer: .*; give one that has alignmeter"
    with pytest.raises(InputError, match=named):
        open_engine("local", stub.lab(host='accelerator = "cpu"')).check()


def test_devices_are_counted_within_an_outer_mask(stub, cells, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    stub.says(devices=[("cuda", 2)])
    lab = stub.lab("replicates = 1", gpu=CUDA)
    night, plan = stub.night(lab, cells)
    drive(lab, night, plan, devices=(1,))
    assert {device for *_, device in stub.measured()} == {"7"}


def test_a_cell_of_several_devices_waits_for_as_many(stub, cells):
    pair = make_record(method="dpo", world_size=2).cell
    stub.says(devices=[("cuda", 2)])
    lab = stub.lab("replicates = 1", gpu=CUDA)
    night, plan = stub.night(lab, [*cells, pair])
    assert drive(lab, night, plan).complete
    devices = {name: device for _, name, device in stub.measured()}
    assert devices[f"{pair.id}.r0"] == "0,1"


def test_the_cells_of_a_device_that_is_refused_go_to_others(stub, cells):
    stub.says(devices=[("cuda", 2)], refusing=["here0"])
    lab = stub.lab("replicates = 1", gpu=CUDA)
    night, plan = stub.night(lab, cells)
    ending = drive(lab, night, plan)
    assert ending.complete
    assert ending.refusals == ["here0 (gpu): idle: 4 GiB of cuda:0 are in use"]
    assert {device for *_, device in stub.measured()} == {"1"}


@pytest.mark.full
def test_where_all_devices_are_refused_the_cells_wait(stub, cells):
    stub.says(devices=[("cuda", 1)], refusing=["here0"])
    lab = stub.lab("replicates = 1", gpu=CUDA)
    night, plan = stub.night(lab, cells)
    ending = drive(lab, night, plan)
    assert [len(keys) for keys in ending.not_reached.values()] == [3]
    (found,) = status_of(night, night.plans(), {})
    assert [failure.what for failure in found.failures] == ["here0"]


def test_a_cell_that_ends_its_jobs_is_given_up_and_takes_no_other_with_it(stub, cells):
    stub.says(killed_by="orpo")
    lab = stub.lab("replicates = 1", here=CPU)
    night, plan = stub.night(lab, cells)
    ending = drive(lab, night, plan)
    assert list(ending.failed) == [f"{cells[1].id}.r0"]
    assert "3 jobs ended before its record was there" in ending.failed[f"{cells[1].id}.r0"]
    assert len(night.recorded("here")) == 2
    states = {job.sent.handle: ENDED for job in night.jobs()}
    (found,) = status_of(night, night.plans(), states)
    (lost,) = found.failures
    assert (lost.what, lost.why) == (f"{cells[1].id}.r0", ending.failed[f"{cells[1].id}.r0"])
    stub.says()
    assert drive(lab, night, plan).complete
    assert status_of(night, night.plans(), states)[0].failures == []


@pytest.mark.full
def test_from_the_time_limit_on_no_cell_begins(stub, cells):
    lab = stub.lab("replicates = 1", here=CPU)
    night, plan = stub.night(lab, cells)
    ending = drive(lab, night, plan, until=time.time() - 1)
    assert ending.why == "the time was over"
    assert len(ending.not_reached["here"]) == 3
    stub.says(seconds=0.3)
    ending = drive(lab, night, plan, until=time.time() + 0.5)
    assert 0 < len(night.recorded("here")) < 3
    assert len(ending.not_reached["here"]) == 3 - len(night.recorded("here"))


@pytest.mark.full
def test_a_budget_ends_a_night(stub, cells):
    lab = stub.lab("replicates = 3", here=f"{CPU}\nchunk = 1")
    night, plan = stub.night(lab, cells)
    stub.says(seconds=0.1)
    ending = drive(lab, night, plan, budget_s=0.3)
    assert ending.why == "the budget was spent"
    assert 0 < len(night.recorded("here")) < 9
    # What was spent stands in the folder: a second run has nothing left.
    done = night.recorded("here")
    assert drive(lab, night, plan, budget_s=0.3).why == "the budget was spent"
    assert night.recorded("here") == done


def test_a_class_that_is_not_on_this_machine_is_refused_with_what_is(stub):
    lab = stub.lab(gpu=CUDA)
    with pytest.raises(InputError, match=r"\[class.gpu\]: cuda is not on this .* here: cpu; "):
        open_engine("local", lab).check()


def test_a_command_that_is_not_there_is_named(stub):
    lab = stub.lab(here=CPU)
    stub.command.unlink()
    with pytest.raises(InputError, match=r"\[class.here\]: .*/alignmeter' cannot be started: No"):
        open_engine("local", lab).check()


def test_a_device_that_is_not_there_is_refused(stub):
    stub.says(devices=[("cuda", 2)])
    engine = open_engine("local", stub.lab(gpu=CUDA), (2,))
    with pytest.raises(InputError, match=r"no device 2 of \[class.gpu\]; it has 0 to 1"):
        engine.check()


DRIVER = """
import sys
from pathlib import Path
from alignmeter.cli.ending import end_on_sigterm
from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine
from alignmeter.lab.lab_file import read_lab
from alignmeter.lab.submission import Night
lab = read_lab(Path(sys.argv[1]))
night = Night(lab.out / "n1")
end_on_sigterm()
engine = open_engine("local", lab)
engine.check()
Driver(night, lab, night.plans()["here"], engine, Limits(), print).drive()
"""


def began(night):
    """The stub's process, once it has a record."""
    while len(night.recorded("here")) < 1:
        time.sleep(0.02)
    (job,) = night.jobs()
    return psutil.Process(job.outcome.pid)


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_drives_a_night_is_ended_and_a_second_run_finishes_it(stub, cells, number):
    stub.says(seconds=0.15)
    lab = stub.lab("replicates = 2", here=CPU)
    night, plan = stub.night(lab, cells)
    driver = subprocess.Popen([sys.executable, "-P", "-c", DRIVER, lab.where],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    child = began(night)
    driver.send_signal(number)
    driver.wait()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running() or child.status() == "zombie"  # it went with its parent
    assert len(night.recorded("here")) < 6
    stub.says()
    assert drive(lab, night, plan).complete
    names = [name for _, name, _ in stub.measured()]
    assert len(set(names)) == 6
    assert len(load_folders([night.folder]).records) == 6


@pytest.mark.full
def test_a_job_that_is_killed_leaves_its_cells_to_the_next(stub, cells):
    stub.says(seconds=0.1)
    lab = stub.lab("replicates = 2", here=CPU)
    night, plan = stub.night(lab, cells)
    engine = open_engine("local", lab)
    engine.check()
    told = []
    driver = Driver(night, lab, plan, engine, Limits(), told.append)
    driver.drive(wait=False)
    child = began(night)
    child.kill()
    assert driver.drive().complete
    assert len(told) == 2
    assert len(load_folders([night.folder]).records) == 6


@pytest.mark.full
def test_a_night_can_be_cancelled_from_elsewhere(stub, cells):
    stub.says(seconds=0.1)
    lab = stub.lab("replicates = 3", here=CPU)
    night, plan = stub.night(lab, cells)
    engine = open_engine("local", lab)
    engine.check()
    driver = Driver(night, lab, plan, engine, Limits(), print)
    driver.drive(wait=False)
    child = began(night)
    night.cancel()
    ending = driver.drive()
    assert ending.why == "cancelled"
    assert not child.is_running()
    assert not ending.complete


def test_classes_of_a_night_are_driven_apart_and_told_together(stub, cells):
    lab = stub.lab("replicates = 1", here=CPU, there=CPU)
    for name in lab.classes:
        night, plan = stub.night(lab.only((name,)), cells)
        drive(lab, night, plan)
    found = status_of(night, night.plans(), {})
    assert [(one.name, one.recorded) for one in found] == [("here", 3), ("there", 3)]
    with night.locked(["here"]), night.locked(["there"]):
        pass
    with night.locked(["here"]), pytest.raises(InputError, match=r"another run .* writes here"):
        stub.night(lab, cells)[0].locked(["here", "there"]).__enter__()


def test_who_submits_imports_no_torch():
    code = (
        "import sys, alignmeter.cli.lab, alignmeter.lab.drive, alignmeter.lab.planned, "
        "alignmeter.lab.status, alignmeter.lab.job_matrix; "
        "from alignmeter.lab.engines import ENGINES; from alignmeter.registry import load; "
        "[load(ENGINES, name) for name in ENGINES]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True,
                          check=True, cwd=Path(__file__).parent)  # fmt: skip
    assert done.stdout == "False\n"
