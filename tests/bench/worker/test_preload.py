"""What the forkserver preloads: everything that a worker would otherwise import by itself."""

import subprocess
import sys
from importlib.util import find_spec

import msgspec
import pytest

from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES, load

pytestmark = pytest.mark.full  # one interpreter that imports everything

ROWS = [*METHODS.values(), *ARCHITECTURES.values(), *PEFT_MODES.values()]
CODE = f"""
import json, sys
import alignmeter.worker.preload
preloaded = list(sys.modules)
from importlib import import_module
for path in {sorted(row.path for row in ROWS)}:
    import_module(path.partition(":")[0])
print(json.dumps([preloaded, list(sys.modules)]))
"""


@pytest.fixture(scope="module")
def loaded():
    """The modules of a fresh interpreter after the preload, and with all that workers may open."""
    command = [sys.executable, "-P", "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    preloaded, later = msgspec.json.decode(done.stdout.splitlines()[-1], type=list[set[str]])
    return preloaded, later


@pytest.mark.full
def test_the_libraries_are_there(loaded):
    wanted = {"torch", "transformers", "peft", "peft.tuners.lora", "alignmeter.worker.workload"}
    if find_spec("bitsandbytes") is not None:
        wanted |= {"bitsandbytes"}
    assert wanted - loaded[0] == set()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_so_is_every_architectures_model(loaded, name):
    """transformers imports a model's module when it is first asked for."""
    assert load(ARCHITECTURES, name).modeling in loaded[0]


def test_a_worker_imports_none_of_its_own(loaded):
    preloaded, later = loaded
    foreign = {name.partition(".")[0] for name in later - preloaded} - sys.stdlib_module_names
    assert foreign <= {"alignmeter", "alignmeter_kernels"}
