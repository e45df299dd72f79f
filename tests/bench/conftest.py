"""What several files of tests share: cells, a forkserver, vendors' libraries on a script."""

import pytest
import torch
from amd_stub import AmdMachine, build_amd
from covering import saved_kinds
from hypothesis import HealthCheck, settings
from nvml_stub import build_nvml, playing

from alignmeter.registry import ARCHITECTURES
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.engines import compiled

# Shared machines stall now and then; speed is measured in benchmarks, never in a test.
settings.register_profile("alignmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("alignmeter")


@pytest.fixture
def make_cell():
    """A function of axis values that gives a cell: synthetic data, short sequences, stock kernels.

    Stock, because a custom cell that no packaged reference covers has one computed first, in a
    worker of its own.
    """

    def make(**axes):
        defaults = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, "kernels": "stock"}
        return resolve_cell({**defaults, **axes}).cell

    return make


@pytest.fixture
def traced_only(monkeypatch):
    """Dynamo's part of compiling, in a second or two; Inductor's C++ takes half a minute."""

    def compile_(policy, *, graphs):
        assert not graphs
        return torch.compile(policy, dynamic=False, backend="eager")

    monkeypatch.setattr(compiled, "_compile", compile_)
    yield
    torch.compiler.reset()


@pytest.fixture(scope="session")
def launcher():
    """One forkserver for all tests that need workers."""
    launcher = Launcher()
    launcher.begin_round(0)
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Architecture -> folders of small checkpoints of all its kinds."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: saved_kinds(root / name, name) for name in ARCHITECTURES}


@pytest.fixture
def scripted(monkeypatch):
    """The patches of a test whose clock is a script's, where no answer may stand for a while."""
    monkeypatch.setattr("alignmeter.telemetry.cached.CACHED_S", {})
    return monkeypatch


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """NVML of the stub."""
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def play(scripted, library, tmp_path):
    """A function of devices that gives them played: telemetry, clock and scenario."""
    with playing(scripted, library, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def rocm(tmp_path_factory):
    """A folder of ROCm with the stub of AMD SMI."""
    return build_amd(tmp_path_factory.mktemp("rocm"))


@pytest.fixture
def machine(rocm, tmp_path, scripted):
    """A machine of AMD GPUs, which its test chooses."""
    with AmdMachine(rocm, tmp_path, scripted) as built:
        yield built
