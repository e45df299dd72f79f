"""A night on a cluster of this host, whichever engine has it."""

import os
import sys

import pytest
import ray_cluster
import slurm_cluster

from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine
from alignmeter.lab.submission import Night

COMMAND = [sys.executable, "-P", "-m", "alignmeter", "lab"]
REAL = """
schema = 1
matrix = "night.toml"
replicates = 2
retries = 0
"""
MATRIX = """
schema = 1
steps = 3
[defaults]
seq_len = 16
data = "synthetic"
architecture = "llama"
peft = "lora"
%s
[[grid]]
method = ["sft", "dpo"]
"""
CLUSTERS = "ALIGNMETER_CLUSTERS"
"""Set where a machine may be used for clusters: beside other tests they time out."""
PLACES = {"slurm": slurm_cluster, "ray": ray_cluster}


def why_not(name):
    """Why the engine's cluster is not started here; ``None`` where it is."""
    if CLUSTERS not in os.environ:
        return f"clusters are started by tox -e lab, or with {CLUSTERS}=1"
    return PLACES[name].missing()


def started(name, folder):
    """The engine's cluster. Where its daemons cannot start, the test is skipped with what they
    said.
    """
    try:
        return PLACES[name].Cluster(folder)
    except RuntimeError as error:
        pytest.skip(f"{name}: {error}")


def on_engines(*names):
    """Run a test on these engines' clusters, or on every one's."""
    found = [
        pytest.param(name, marks=pytest.mark.skipif(why is not None, reason=str(why)))
        for name in names or PLACES
        for why in [why_not(name)]
    ]
    return pytest.mark.parametrize("engine", found, scope="module")


class NightOf:
    """Of the cluster's two classes, with chunks of two, unless it is told others."""

    def __init__(self, engine, stub, cells, **tables):
        chosen = tables or {k: f"{t}\nchunk = 2" for k, t in PLACES[engine].CLASSES.items()}
        self.lab = stub.lab("replicates = 2", **chosen)
        self.engine = engine
        self.night, self.plan = stub.night(self.lab, cells, engine=engine)

    def driver(self, **limits):
        opened = open_engine(self.engine, self.lab)
        opened.check()
        return Driver(self.night, self.lab, self.plan, opened, Limits(**limits), lambda _: None)

    def recorded(self):
        return {name: len(self.night.recorded(name)) for name in self.lab.classes}


def dying(function, times):
    """It, as often; then its process ends."""
    left = iter([True] * times)

    def call(*arguments):
        if not next(left, False):
            raise KeyboardInterrupt
        return function(*arguments)

    return call


def once_each(stub, count):
    """Whether so many replicates were measured, none of them twice."""
    return len(stub.measured()) == len(set(stub.measured())) == count


def real_lab(folder, tables, more=""):
    """A night of two cells that are measured, by this interpreter on the host's own processor.

    ``more``: lines of the matrix's defaults.
    """
    classes = [f"[class.{name}]\n{table}" for name, table in tables.items()]
    text = "\n".join([REAL, *classes]).replace('"cuda"', '"cpu"').replace('"rocm"', '"cpu"')
    (folder / "LAB.toml").write_text(text)
    (folder / "night.toml").write_text(MATRIX % more)
    return Night(folder / "results" / "n1")
