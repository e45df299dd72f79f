"""A reward of a user's at the door: what is refused before any worker, and what it identifies."""

import hashlib
import re
import subprocess
import sys

import msgspec
import pytest

from alignmeter.cells.matrix import expand, read_matrix, read_overrides
from alignmeter.cells.reward_file import check_reward
from alignmeter.errors import InputError
from alignmeter.records.reference import reference_key
from alignmeter.session.resolve import plan_matrix, resolve_cell

GOOD = "def score(prompts, completions, **kwargs):\n    return [1.0 for _ in completions]\n"
AXES = {"accelerator": "cpu", "data": "synthetic", "method": "grpo"}


@pytest.fixture
def write(tmp_path):
    """A function of source that gives the value of the axis for its ``score``."""

    def written(source=GOOD, name="r.py", function="score"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return f"{path}:{function}"

    return written


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "def score(completions, **_):\n    pass\n",
        "def score(prompts, completions, completion_ids, chosen=None):\n    pass\n",
        "def score(*, completions, weight=2.0, **kwargs):\n    pass\n",
        "score = lambda **given: [0.0] * len(given['prompts'])\n",
        "import functools\nscore = functools.partial(print, 3)\n",
        "from math import *\n",
        "from elsewhere import judge as score\n",
        "try:\n    import x\nexcept ImportError:\n    def score(**given): pass\n",
        "if True:\n    pass\nelse:\n    with open('x') as f:\n        score = eval(f.read())\n",
        "@decorated\ndef score(anything): pass\n",
        "def score(**given): pass\nscore.weight = 3\n",
        "weight, score = 1.0, (lambda **given: [])\n",
        "score = 3\ndef score(**given): pass\n",
        "# -*- coding: latin-1 -*-\n# \xe9\ndef score(**given): pass\n".encode("latin-1"),
        b"\xef\xbb\xbfdef score(**given): pass\n",
    ],
)
def test_a_function_that_steps_can_call_is_let_in_unrun(source, write):
    written = write(source)
    expected = source if isinstance(source, bytes) else source.encode()
    assert check_reward(written) == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def scor(**given): pass\n", "no function 'score' at its top level; known: scor"),
        ("score(3)\nx = 1\n", "no function 'score' at its top level; it has none"),
        ("def f():\n    def score(**g): pass\n", "no function 'score' at its top level; known: f"),
        ("def score(:\n", "r.py, line 1: not Python: invalid syntax; correct it"),
        (b"\xff\xfe\x00", "r.py.*: not Python: "),
        ("score = 3\n", "line 1: score is a value, not a function; write def score(prompts,"),
        ("score = [1, 2]\n", "score is a value, not a function"),
        ("\nclass score: pass\n", "line 2: score is a class, not a function"),
        ("async def score(**given): pass\n", "score is asynchronous, and steps wait for numbers"),
        ("def score(completions): pass\n", "score does not take 'prompts', which steps give by"),
        ("def score(answer, **given): pass\n", "score wants 'answer', and steps give prompts, "),
        ("def score(*, k, **given): pass\n", "score wants 'k', and steps give"),
        ("def score(prompts, /, **given): pass\n", "score wants 'prompts', and steps give"),
        ("score = lambda texts: []\n", "score wants 'texts', and steps give"),
    ],
)
def test_what_steps_cannot_call_is_refused_in_one_sentence(source, words, write, tmp_path):
    with pytest.raises(InputError) as caught:
        resolve_cell({**AXES, "reward": write(source)})
    text = str(caught.value)
    assert re.search(words.replace("(", r"\("), text), text
    assert "\n" not in text
    assert len(text) - len(str(tmp_path)) < 300


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("lenght", "--reward: 'lenght' is not a value of reward; known: model, length, "
                   "token-share, exact-match, or FILE.py:function"),
        ("r.py", "'r.py' is not a value of reward; known: model"),
        (":score", "':score' is not a value of reward"),
        ("r.py:", "'r.py:' is not a value of reward"),
        ("r.py:not a name", "is not a value of reward"),
        ("gone.py:score", "--reward: reward file 'gone.py' does not exist; give FILE.py:function"),
        ("folder:score", "--reward: reward file 'folder' is no file; give FILE.py:function"),
    ],
)  # fmt: skip
def test_what_names_no_file_and_function_is_refused(value, words, tmp_path, monkeypatch):
    (tmp_path / "r.py").write_text(GOOD)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_overrides({"reward": value})
    assert words in str(caught.value)


@pytest.mark.full
def test_a_command_ends_with_2_and_one_sentence(write, tmp_path):
    write("def score(texts): pass\n")
    command = ["cell", "--accelerator", "cpu", "--method", "grpo", "--reward", "r.py:score"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "alignmeter", *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "Error: r.py, line 1: score wants 'texts', and steps give prompts, completions, "
        "completion_ids, chosen by name; write def score(prompts, completions, **kwargs)\n"
    )


def test_a_matrix_names_it_from_its_own_folder(write, tmp_path, monkeypatch):
    write(name="suite/of_suite.py")
    matrix = tmp_path / "suite" / "m.toml"
    matrix.write_text(
        'schema = 1\n[[grid]]\nmethod = "grpo"\naccelerator = "cpu"\n'
        'reward = ["length", "of_suite.py:score"]\n'
        '[[exclude]]\nreward = "../suite/of_suite.py:other"\nreason = "of another function"\n'
        '[[exclude]]\nreward = "../suite/of_suite.py:score"\nreason = "not tonight"\n'
    )
    monkeypatch.chdir(tmp_path)
    notes = []
    planned = plan_matrix(read_matrix(matrix), {}, notes.append)
    assert [p.cell.reward for p in planned] == ["length", "of_suite.py:score"]
    assert [p.unsupported and p.unsupported.text for p in planned] == [None, "not tonight"]
    assert [note for note in notes if "of_suite.py:other" in note]
    matrix.write_text('schema = 1\n[[grid]]\nreward = "gone.py:score"\n')
    with pytest.raises(InputError, match=r"'gone\.py' does not exist in suite, which paths in"):
        expand(read_matrix("suite/m.toml"), {})


def test_two_versions_of_a_file_are_never_likened(write):
    cell = resolve_cell({**AXES, "reward": write()}).cell
    assert cell.reward_digest == hashlib.sha256(GOOD.encode()).hexdigest()
    assert cell.id.startswith("grpo-llama-tiny-full-cpu-reward-score-synthetic-")
    moved = resolve_cell({**AXES, "reward": write(name="elsewhere/other.py")}).cell
    assert moved.reward != cell.reward
    assert (moved.id, moved.without()) == (cell.id, cell.without())
    two = GOOD + "def other(**given): return []\n"
    other = resolve_cell({**AXES, "reward": write(two, function="other")}).cell
    changed = resolve_cell({**AXES, "reward": write(two)}).cell
    every = [cell, other, changed, resolve_cell(AXES).cell]

    def key(one):
        return reference_key(one, {}, seed=0, layers=None, rounded=False)

    for of in (lambda one: one.id, lambda one: one.without(), key):
        assert len(set(map(of, every))) == 4
    assert key(moved) == key(cell)
    assert cell.without("reward") == changed.without("reward") == every[3].without("reward")


def test_cells_without_one_are_what_they_were():
    """The ids of before, which hold no word of a digest that there is none of."""
    cell = resolve_cell({**AXES, "reward": "length"}).cell
    assert cell.id == "grpo-llama-tiny-full-cpu-reward-length-synthetic-4794ac8f"
    distill = resolve_cell({**AXES, "method": "distill"}).cell
    assert distill.id == "distill-llama-tiny-full-cpu-synthetic-17e09dbe"
    assert (cell.reward_digest, cell.teacher_digest) == ("", "")
    old = msgspec.structs.asdict(cell)
    for name in ("reward_digest", "teacher_digest", "teacher"):
        del old[name]
    assert msgspec.convert(old, type(cell)) == cell
