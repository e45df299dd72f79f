"""Machines with a pretended device, built once for all tests."""

import json

import environment
import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def pretend(tmp_path_factory):
    """A function of a kind of device (cuda, rocm or xpu) and options that gives a `Machine`.

    The library is compiled once, by whichever test process comes first.
    """
    reason = environment.why_not()
    if reason is not None:
        pytest.skip(reason)
    shared = tmp_path_factory.getbasetemp().parent / "pretend"
    shared.mkdir(exist_ok=True)
    made = {}

    def machine(kind, **options):
        key = kind, *sorted(options.items())
        if key not in made:
            with FileLock(shared / f"{kind}.lock"):
                library = environment.build(shared, kind)
            folder = tmp_path_factory.mktemp(f"machine-{kind}")
            made[key] = environment.Machine(folder / "here", kind, library, **options)
        return made[key]

    return machine


@pytest.fixture
def records():
    """A function of a folder that gives its records as JSON, by cell id and replicate."""

    def read(folder):
        found = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.r?.json"))]
        return {(record["cell"]["id"], record["replicate"]): record for record in found}

    return read
