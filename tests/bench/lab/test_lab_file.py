"""LAB.toml: each wrong field is one sentence with the file, the table and what would be right."""

import subprocess
import sys
from pathlib import Path

import pytest

from alignmeter.errors import InputError
from alignmeter.lab.engines import open_engine
from alignmeter.lab.engines.base import command_of
from alignmeter.lab.lab_file import read_lab

HEAD = 'schema = 1\nmatrix = "quick"\n'
TABLE = '[class.a]\naccelerator = "cpu"\n'


@pytest.fixture
def read(tmp_path):
    def reading(text):
        path = tmp_path / "LAB.toml"
        path.write_text(text)
        return read_lab(path)

    return reading


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "class is missing; write a table for each class of nodes, [class.NAME]"),
        (f"{HEAD}[class]", "class is {}; write a table for each class of nodes"),
        (f"schema = 1\n{TABLE}", "matrix is missing; give a path"),
        (f"{HEAD}replicates = 0\n{TABLE}", "replicates is 0; give a whole number of 1 to 1000"),
        (f"{HEAD}retries = -1\n{TABLE}", "retries is -1; give a whole number of 0 to 10"),
        (f"{HEAD}[class.a]", "[class.a]: accelerator is missing; give one of"),
        (f'{HEAD}[class.a]\naccelerator = "gpu"', "[class.a]: accelerator is 'gpu'; known: "),
        (f'{HEAD}[class."a b"]\naccelerator = "cpu"', "[class.a b] is the name of a folder"),
        (f"{HEAD}{TABLE}colour = 1", "[class.a]: unknown key 'colour'; "),
        (f"{HEAD}{TABLE}chunk = 0", "[class.a]: chunk is 0; give a whole number of 1 to 1000"),
        (f"{HEAD}{TABLE}command = []", "[class.a]: command is []; write a list of texts"),
        (
            f'{HEAD}{TABLE}command = ["x"]\npython = "y"',
            "[class.a]: python and command are both given; give one of them",
        ),
        (f"{HEAD}{TABLE}environment = {{A = 1}}", "[class.a]: environment.A is 1; give a text"),
        (
            f'{HEAD}{TABLE}environment = {{"A B" = "1"}}',
            "[class.a]: 'A B' cannot be a variable",
        ),
        (
            f'{HEAD}{TABLE}gres = "gpu:b200:1"',
            "[class.a]: gres is 'gpu:b200:1'; give gpu or gpu:TYPE",
        ),
        (
            f'{HEAD}{TABLE}time_limit = "soon"',
            "[class.a]: time_limit is 'soon'; give e.g. \"4:00:00\"",
        ),
        (f'{HEAD}{TABLE}lane = "{"x" * 99}"', "[class.a]: "),
        (f'{HEAD}[class.jobs]\naccelerator = "cpu"', "[class.jobs] is the name of a folder; give"),
        (f'{HEAD}out = "a\\u0000"\n{TABLE}', r"out is 'a\x00'; give a path"),
        (
            f'{HEAD}{TABLE}command = ["a\\u0000"]',
            r"[class.a]: command is ['a\x00']; write a list of texts",
        ),
        (f'{HEAD}{TABLE}chip = "B200"', "[class.a]: chip is 'B200', and cpu has no chip that is"),
        (
            f'{HEAD}[class.a]\naccelerator = "cuda"\nchip = "H100-SMX"',
            "[class.a]: chip is 'H100-SMX'; nearest of ",
        ),
        (
            f'{HEAD}store = "results/store"\n{TABLE}',
            "store is 'results/store', in the folder of the nights, 'results'; give a",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_is_right(read, text, said):
    with pytest.raises(InputError) as caught:
        read(text)
    assert f"LAB.toml: {said}" in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_paths_are_relative_to_the_file(read, tmp_path):
    lab = read(HEAD + 'out = "nights"\n' + TABLE)
    assert lab.out == tmp_path / "nights"
    assert lab.only(()).classes.keys() == {"a"}
    with pytest.raises(InputError, match=r"there is no \[class.b\]; known: a"):
        lab.only(("b",))


def test_a_command_runs_in_the_environment_of_its_class(read, tmp_path):
    other = '[class.b]\naccelerator = "cuda"\ncommand = ["enroot", "alignmeter"]\n'
    lab = read(HEAD + TABLE + other)
    job = tmp_path / "j"
    assert command_of(lab.classes["a"], job)[:4] == [sys.executable, "-P", "-m", "alignmeter"]
    assert command_of(lab.classes["b"], job) == ["enroot", "alignmeter", "cell", "--jobs", str(job)]


def test_modules_are_loaded_by_a_login_shell_before_the_command(read, tmp_path, monkeypatch):
    """As on a cluster, where a file that such a shell reads makes ``module`` a function."""
    (tmp_path / ".bash_profile").write_text('module() { printf "%s|" "$@"; export LOADED="$2"; }\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    loads = 'modules = ["cuda/13.0", "gcc 13"]\ncommand = ["bash", "-c", "echo $LOADED: $*", "it"]'
    words = command_of(read(f"{HEAD}{TABLE}{loads}").classes["a"], tmp_path / "a job")
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert said == f"load|cuda/13.0|gcc 13|cuda/13.0: cell --jobs {tmp_path / 'a job'}\n"


def test_in_an_image_a_class_runs_by_the_python_that_is_there(read, tmp_path):
    more = 'modules = ["cuda"]\nchunk = 3\nenvironment = { A = "b" }\n'
    text = f'{HEAD}[class.a]\naccelerator = "cuda"\ncommand = ["apptainer", "alignmeter"]\n{more}'
    (chosen,) = read(text).by_this_python().classes.values()
    words = [sys.executable, "-P", "-m", "alignmeter", "cell", "--jobs", "j"]
    assert command_of(chosen, Path("j")) == words
    assert (chosen.chunk, chosen.environment) == (3, {"A": "b"})


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_an_engine_that_starts_a_job_on_one_node_refuses_a_class_of_several(engine, read):
    lab = read(f"{HEAD}{TABLE}nodes = 4")
    said = rf"\[class.a\]: nodes is 4, and the {engine} engine starts a job on one; use slurm"
    with pytest.raises(InputError, match=said):
        open_engine(engine, lab)
