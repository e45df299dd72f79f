import pytest
from lab_nights import started
from lab_stubs import StubLab
from made_records import make_record


@pytest.fixture(scope="module")
def cluster(engine, tmp_path_factory):
    found = started(engine, tmp_path_factory.mktemp(engine))
    yield found
    found.stop()


@pytest.fixture
def place(cluster, monkeypatch):
    """It, with the variables by which its engine finds it; a test leaves no job on it."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.clear()


@pytest.fixture
def on_cluster(tmp_path, place):
    """A stub's lab whose nights run there."""
    return StubLab(tmp_path, make_record())


@pytest.fixture(scope="module")
def cells():
    return [make_record(method=method).cell for method in ("dpo", "orpo", "sft")]
