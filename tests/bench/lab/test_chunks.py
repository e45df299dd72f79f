"""Which replicates come first, and which again."""

import itertools
import time

import msgspec
import pytest
from made_records import make_record

from alignmeter.cli.lab_limits import budget_seconds, until_time
from alignmeter.errors import InputError
from alignmeter.lab.chunks import chunk, first_tries, informative_first, second_try
from alignmeter.records.record import Reason, Verdict


@pytest.fixture(scope="module")
def cells():
    return [make_record(method=method).cell for method in ("dpo", "orpo", "sft")]


def test_every_replicate_comes_once_and_what_is_new_first(cells):
    tasks = informative_first(first_tries(cells, 3, 0), {cells[0].id, cells[1].id})
    assert [task.replicate for task in tasks] == [0] * 3 + [1] * 3 + [2] * 3
    assert tasks[0].cell == cells[2]
    wanted = itertools.product([cell.id for cell in cells], range(3))
    assert sorted((task.cell.id, task.replicate) for task in tasks) == sorted(wanted)


def test_a_job_has_cells_of_one_number_of_devices(cells):
    pair = make_record(method="dpo", world_size=2).cell
    tasks = list(first_tries([cells[0], pair, cells[1]], 1, 0))
    for most in (1, 2, 3):
        assert len({task.cell.world_size for task in chunk(tasks, most)}) == 1
    assert chunk([], 4) == []


@pytest.mark.parametrize(
    ("code", "replicate", "again"),
    [("host_loaded", 1, 4), ("host_loaded", 4, None), ("too_few_steps", 1, None)],
)
def test_a_second_try_has_a_number_of_its_own_and_only_for_temporary_reasons(
    code, replicate, again
):
    bad = {"time": Verdict(ok=False, reasons=[Reason(code=code, text="so")])}
    record = msgspec.structs.replace(make_record(replicate=replicate), validity=bad)
    found = second_try(record, 3, 1)
    assert (None if found is None else found.replicate) == again


def test_hours_and_times_of_day():
    assert budget_seconds("40gpuh") == 40 * 3600
    assert budget_seconds("0.5") == 1800
    assert budget_seconds(None) is until_time(None) is None
    assert 0 < until_time("06:00") - time.time() <= 25 * 3600
    for text in ("0", "ten", "40 days"):
        with pytest.raises(InputError, match="give hours of devices, such as 40gpuh"):
            budget_seconds(text)
    for text in ("6", "24:00", "06:60"):
        with pytest.raises(InputError, match="give a time of day, such as 06:00"):
            until_time(text)
