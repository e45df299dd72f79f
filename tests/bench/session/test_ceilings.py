"""Peaks that a CPU is measured for once, and bounds of steps by them."""

import msgspec
import pytest

from alignmeter.accelerators import open_accelerator
from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError
from alignmeter.records.record import Provenance
from alignmeter.session import measure
from alignmeter.session.ceilings import ceilings_folder, obtain_ceilings
from alignmeter.session.resolve import Planned

HERE = Provenance(device="a CPU", threads=2, versions={"torch": "2.13"}, environment={})
FOUND = MeasuredCeilings(fp32_flops_per_s=1.0, bf16_flops_per_s=2.0, bytes_per_s={4: 8.0, 64: 4.0})


class Workers:
    """A launcher whose workers say what ``answer`` does."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def start(self):
        return self

    def call(self, *verb, timeout_s):
        self.asked.append(verb)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        self.asked.append("close")

    def kill(self):
        self.asked.append("kill")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_they_are_measured_once_for_each_cpu_thread_count_and_torch():
    workers = Workers(FOUND)
    assert obtain_ceilings("cpu", HERE, workers) == FOUND
    assert workers.asked == [("ceilings", "cpu"), "close"]
    assert obtain_ceilings("cpu", HERE, workers) == FOUND
    assert len(workers.asked) == 2
    for other in (
        {"device": "another"},
        {"threads": 1},
        {"versions": {"torch": "2.12"}},
        {"environment": {"ONEDNN_MAX_CPU_ISA": "AVX2"}},
    ):
        obtain_ceilings("cpu", msgspec.structs.replace(HERE, **other), workers)
    assert len(list(ceilings_folder().iterdir())) == 5
    assert len(workers.asked) == 10
    obtain_ceilings(
        "cpu", msgspec.structs.replace(HERE, versions={"torch": "2.13", "peft": "1"}), workers
    )
    assert len(workers.asked) == 10


def test_a_spoilt_file_is_measured_again_and_a_lost_worker_is_none():
    workers = Workers(FOUND)
    obtain_ceilings("cpu", HERE, workers)
    (path,) = ceilings_folder().iterdir()
    path.write_text("{}")
    lost = Workers(CellError("crashed", "worker_died", "gone"))
    assert obtain_ceilings("cpu", HERE, lost) is None
    assert lost.asked == [("ceilings", "cpu"), "kill"]
    assert obtain_ceilings("cpu", HERE, workers) == FOUND


def test_a_chip_of_the_table_is_not_measured():
    workers = Workers(FOUND)
    assert obtain_ceilings("cuda", HERE, workers) is None
    assert workers.asked == []
    assert open_accelerator("cuda").own_ceilings() is None


@pytest.mark.exhaustive
def test_a_record_on_this_machine_has_its_bound(make_cell, launcher):
    planned = Planned(cell=make_cell(method="sft"), unsupported=None)
    settings = Settings(warmup=1, steps=1)
    record = measure(planned, 0, settings, launcher).record
    assert record.status == "ok", record.reason
    (path,) = ceilings_folder().iterdir()
    own = msgspec.json.decode(path.read_bytes(), type=MeasuredCeilings)
    assert 1e8 < own.fp32_flops_per_s <= own.bf16_flops_per_s < 1e15
    rates = [own.bytes_per_s[size] for size in sorted(own.bytes_per_s)]
    assert rates == sorted(rates, reverse=True)
    assert record.throughput.bound_share > 0
    assert set(record.phases) == {"forward", "backward", "optimizer"}
    assert all(phase.bound_s > 0 for phase in record.phases.values())
    written = path.stat().st_mtime_ns
    measure(planned, 1, settings, launcher)
    assert path.stat().st_mtime_ns == written
