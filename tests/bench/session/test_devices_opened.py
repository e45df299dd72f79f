"""Who drives workers opens no device, and no worker is forked from a process that has one open."""

import fake_accelerator
import pytest

from alignmeter.accelerators.device_query import query
from alignmeter.planner.forecast import forecast
from alignmeter.session import Settings, run_matrix
from alignmeter.session import launcher as launching
from alignmeter.session.resolve import resolve_cell
from alignmeter.session.run import Job

QUICK = Settings(steps=2, warmup=1, timeout_s=120, sample_hz=0)
AXES = {
    "accelerator": "fake", "data": "synthetic", "seq_len": 16, "kernels": "stock", "method": "sft",
}  # fmt: skip


class Seen:
    """A listener that keeps what was resumed."""

    def __init__(self):
        self.resumed = []

    def expects(self, count: int) -> None:
        """Nothing."""

    def begins(self, job: Job) -> None:
        pass

    def ends(self, job, record, *, resumed):
        self.resumed.append(resumed)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake_accelerator.install(monkeypatch)
    monkeypatch.setattr(launching, "serve", fake_accelerator.serve_with_it)
    query.cache_clear()
    yield
    query.cache_clear()


@pytest.mark.exhaustive
def test_a_run_and_its_resumption_open_no_device_here(fake, launcher, tmp_path):
    """Resolve, forecast, measure, and look for the record that then is there."""
    plan = forecast([resolve_cell(AXES)], pytest.fail)
    assert plan[0].unsupported is None
    assert plan[0].predicted_peak_bytes > 0
    found = []
    for _ in range(2):
        seen = Seen()
        records = run_matrix(
            plan, tmp_path, QUICK, replicates=1, launcher=launcher, listener=seen,
            retry_invalid=False,
        )  # fmt: skip
        found.append((seen.resumed, [record.provenance.environment_digest for record in records]))
        assert [record.status for record in records] == ["ok"]
    (first, digests), (second, same) = found
    assert (first, second) == ([False], [True])
    assert digests == same


def test_a_record_without_a_worker_has_a_device(fake, launcher, tmp_path):
    planned = resolve_cell({**AXES, "prompt_len": 16})
    assert planned.unsupported.code == "impossible"
    (record,) = run_matrix(
        [planned], tmp_path, QUICK, replicates=1, launcher=launcher, listener=Seen()
    )
    assert record.status == "unsupported"
    assert record.provenance.device


def test_no_worker_is_forked_from_a_server_with_an_open_device(monkeypatch):
    """The first worker says that it is of no use; it and all later ones are spawned, which holds
    in the next round too. tests/pretend has the same of a real server."""
    started, closed = [], []

    class Said:
        def __init__(self, context):
            started.append(context.get_start_method())
            self.broken_by_fork = started[-1] == "forkserver"

        def close(self):
            closed.append(started[-1])

    monkeypatch.setattr(launching, "Worker", Said)
    with launching.Launcher() as launcher:
        launcher.begin_round(0)
        assert not launcher.start().broken_by_fork
        launcher.begin_round(1)
        assert not launcher.start().broken_by_fork
    assert started == ["forkserver", "spawn", "spawn"]
    assert closed == ["forkserver"]
