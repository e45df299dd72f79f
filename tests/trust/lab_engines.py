"""What an engine adds to a night: 500 cells that do nothing, on clusters of this host.

``PYTHONPATH=tests/bench python tests/trust/lab_engines.py local slurm ray``, each engine in turn,
twice. A cell is the stub's of the tests, which writes a record at once; two classes have one device
each. Ray and Slurm start before the clock does. Ray takes seconds to start a job, so a larger
``chunk`` counts: ``--chunk 8`` is a class's default.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import slurm_cluster
from lab_nights import PLACES
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine

REPLICATES = 10


def night_of(name: str, folder: Path, cells: int, chunk: int) -> float:
    """Seconds that so many cells take, of both classes together."""
    tables = PLACES.get(name, slurm_cluster).CLASSES
    stub = StubLab(folder, make_record())
    stub.says(devices=[("cuda", 1), ("rocm", 1)])
    lab = stub.lab(
        f"replicates = {REPLICATES}",
        **{key: f"{table}\nthrottle = 1\nchunk = {chunk}" for key, table in tables.items()},
    )
    per_class = cells // (REPLICATES * len(tables))
    asked = [make_record(seq_len=16 * (1 + i)).cell for i in range(per_class)]
    night, plan = stub.night(lab, asked, engine=name)
    engine = open_engine(name, lab)
    engine.check()
    began = time.monotonic()
    driver = Driver(night, lab, plan, engine, Limits(), lambda _: None)
    assert driver.drive().complete
    took = time.monotonic() - began
    assert len(stub.measured()) == len(set(stub.measured())) == per_class * REPLICATES * 2
    return took


def main() -> None:
    """A line for each night."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="+", choices=("local", "ray", "slurm"))
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clusters = []
        for name, kind in PLACES.items():
            if name in asked.engines:
                (folder / name).mkdir()
                clusters.append(kind.Cluster(folder / name))
                os.environ |= clusters[-1].environment
        try:
            for number in range(asked.rounds):
                for name in asked.engines:
                    there = folder / f"{name}{number}"
                    there.mkdir()
                    took = night_of(name, there, asked.cells, asked.chunk)
                    each = f"{took / asked.cells * 1e3:5.0f} ms a cell"
                    sys.stdout.write(f"{name:6} {took:6.1f} s, {each}\n")
                    sys.stdout.flush()
        finally:
            for cluster in clusters:
                cluster.stop()


if __name__ == "__main__":
    main()
