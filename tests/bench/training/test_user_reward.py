"""A user's reward in a step: what it is given, what it may return, and what is said of the rest."""

import math
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from saved_checkpoints import ATTENTION, SMALL
from transformers import AutoModelForCausalLM, LlamaConfig

from alignmeter.batches import open_batches
from alignmeter.batches.tokenizer import EOS, FIRST_BYTE, ByteTokenizer, open_tokenizer
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError
from alignmeter.methods import open_method, open_setup
from alignmeter.session import Planned, measure
from alignmeter.session.resolve import resolve_cell
from alignmeter.training import user_reward
from alignmeter.training.rewards import open_reward
from alignmeter.training.step import SilentProbe

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
SHAPE = {"method": "grpo", "data": "packaged", "seq_len": 16, "prompt_len": 8}
RIGHT = "it has to return a list of 4 finite numbers, one for each completion"


@pytest.fixture
def cell_of(tmp_path, make_cell):
    """A function of a file's source that gives a cell with its ``score``."""

    def made(source, **axes):
        path = tmp_path / "r.py"
        path.write_text(source)
        return make_cell(**{**SHAPE, **axes}, reward=f"{path}:score")

    return made


@pytest.fixture
def returning(cell_of, monkeypatch):
    """A function of a value that gives the rewards of a step whose function returns it."""

    def rewards(value, **axes):
        cell = cell_of("def score(**given): pass\n", **axes)
        reward = open_reward(open_setup(cell, CPU, seed=0))
        monkeypatch.setattr(reward, "_function", lambda **_: value)
        batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "groups")
        return reward.of(batch.ids, batch)

    return rewards


def given_to(cell, ids=None):
    """The batch of a cell, and what its function is given of ``ids``."""
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "groups")
    reward = open_reward(open_setup(cell, CPU, seed=0))
    reward.of(batch.ids if ids is None else ids(batch), batch)
    return batch, user_reward._loaded.__wrapped__, reward._function.__globals__["SEEN"][-1]


SEES = "SEEN = []\ndef score(**given):\n    SEEN.append(given)\n    return [0] * 4\n"


def answered(batch):
    """Answers of 8 tokens: text and an end after 2, no end, one end at once, ids of no byte."""
    text = [FIRST_BYTE + byte for byte in b"answered"]
    rows = [[*text[:2], EOS, *text[3:]], text, [EOS] * 8, [300, *text[1:7], 511]]
    return torch.cat([batch.prompts, torch.tensor(rows)], dim=1)


def test_it_is_given_what_trl_gives(cell_of):
    batch, _, given = given_to(cell_of(SEES), answered)
    assert list(given) == ["prompts", "completions", "completion_ids", "chosen"]
    decode = ByteTokenizer().decode
    assert given["prompts"] == [decode(row) for row in batch.prompts.tolist()]
    assert given["completions"] == ["an", "answered", "", "nswere"]
    assert [len(ids) for ids in given["completion_ids"]] == [3, 8, 1, 8]
    assert given["completion_ids"][0][-1] == EOS
    assert given["chosen"] == [decode(row) for row in batch.ids[:, 8:].tolist()]
    assert given["chosen"][0] == given["chosen"][1] != given["chosen"][2]


def test_the_example_of_the_docs_judges(cell_of):
    """On what the docstring above it says: an end of a sentence is worth 1, an echo costs 1."""
    text = (ROOT / "docs" / "methods.md").read_text()
    (example,) = re.findall(r"```python\n# rewards\.py\n(.+?)```", text, re.DOTALL)
    assert example.count("\n") <= 10
    cell = cell_of(example)
    score = open_reward(open_setup(cell, CPU, seed=0))._function
    answers = ["Yes.", "Yes", "echo", "echo."]
    assert score(prompts=["echo"] * 4, completions=answers) == pytest.approx(
        [0.996, -0.003, -1.004, -0.005], abs=1e-12
    )
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "groups")
    assert open_reward(open_setup(cell, CPU, seed=0)).of(batch.ids, batch).shape == (4,)


@pytest.mark.parametrize("batching", ["padded", "packed"])
def test_rows_of_their_own_lengths_are_cut_where_each_prompt_ends(batching, cell_of):
    cell = cell_of(SEES, batching=batching, seq_len=24, data="lengths:hh", batch=2)
    setup = open_setup(cell, CPU, seed=0)
    reward = open_reward(setup)
    batch = open_batches(cell, vocab_size=512, seed=0).longest(CPU, "groups")
    lengths = batch.spans.prompts
    rows = [[5] * n + [7] * 16 + [0] * (max(lengths) - n) for n in lengths]
    reward.of(torch.tensor(rows), batch)
    given = reward._function.__globals__["SEEN"][-1]
    assert given["completion_ids"] == [[7] * 16] * 4
    assert [len(text) for text in given["prompts"]] == list(lengths)


def test_prompts_alone_have_no_chosen_answer(cell_of, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("prompt\n" + "\n".join(f"a prompt of number {n}" for n in range(8)))
    _, _, given = given_to(cell_of(SEES, data=str(path)))
    assert "chosen" not in given


def test_a_checkpoints_tokenizer_makes_the_texts(checkpoints):
    """Ids past its vocabulary, which its embedding may have, mean nothing."""
    folder = checkpoints["llama"][0]
    cell = resolve_cell({"accelerator": "cpu", "model": str(folder)}).cell
    tokenizer = open_tokenizer(cell)
    ids = tokenizer.encode("some text")
    assert tokenizer.decode_all([[*ids, 10**6], ids[:4]]) == tokenizer.decode_all([ids, ids[:4]])


@pytest.mark.parametrize(
    "value",
    [
        [0, 1.5, True, -2],
        (0.0, 1.5, 1.0, -2.0),
        np.array([0, 1.5, 1, -2]),
        [np.float32(0), np.float64(1.5), np.int64(1), -2],
        torch.tensor([0, 1.5, 1, -2]),
        [torch.tensor(0), torch.tensor(1.5), torch.tensor(True), -2],
    ],
    ids=["list", "tuple", "array", "numpy-numbers", "tensor", "tensors"],
)
def test_a_number_for_each_completion_in_any_usual_form(value, returning):
    found = returning(value)
    assert found.dtype == torch.float32
    assert found.tolist() == [0.0, 1.5, 1.0, -2.0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "returned a NoneType"),
        (1.0, "returned a float"),
        ("1234", "returned a str"),
        ({1: 2}, "returned a dict"),
        ((x for x in "abcd"), "returned a generator"),
        ([1.0, 2.0], "returned 2 rewards for 4 completions"),
        (torch.zeros(5), "returned 5 rewards for 4 completions"),
        (torch.zeros(4, 1), "returned a list for completion 1 of 4"),
        ([1, None, 2, 3], "returned None for completion 2 of 4"),
        ([1, 1, "2", 3], "returned a str for completion 3 of 4"),
        ([1, 1, 1, 1j], "returned a complex for completion 4 of 4"),
        ([1, math.nan, 1, 1], "returned nan for completion 2 of 4"),
        ([-math.inf, 1, 1, 1], "returned -inf for completion 1 of 4"),
        ([1, 1, 1e39, 1], r"returned 1e\+39 for completion 3 of 4"),  # infinite in fp32
        ([10**400, 1, 1, 1], "returned 1000.*... for completion 1 of 4"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_anything_else_is_told_with_what_would_be_right(value, words, returning, tmp_path):
    with pytest.raises(CellError, match=words) as caught:
        returning(value)
    assert (caught.value.status, caught.value.code) == ("unsupported", "reward_unfit")
    assert caught.value.text.endswith(f"; {RIGHT}")
    assert "r.py: score returned" in caught.value.text
    assert len(caught.value.text) < 300


RAISES = {
    "once called": (
        "def score(**given):\n    return deeper(given)\ndef deeper(given):\n    return given[3]\n",
        f"r.py: score raised KeyError: 3 (line 4); {RIGHT}",
    ),
    "of another file": (
        "import json\ndef score(**given):\n\n    return json.loads('')\n",
        "r.py: score raised JSONDecodeError: Expecting value: line 1 column 1 (char 0) (line 4); ",
    ),
    "an exit": ("def score(**given): exit(3)\n", f"score raised SystemExit: 3 (line 1); {RIGHT}"),
    "a missing argument": (
        "def score(completions, chosen, **given): return [0] * 4\n", "missing 1 required",
    ),
    "while it is loaded": (
        "import of_nowhere\ndef score(**given): pass\n",
        "r.py: raised ModuleNotFoundError: No module named 'of_nowhere' (line 1) when it was "
        "loaded; a reward is one file, and what it imports has to be installed",
    ),
    "no function after all": (
        "score = len('four')\n",
        "r.py: score is an int, not a function; write def score(prompts, completions, **kwargs)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RAISES)
def test_an_exception_is_told_with_its_line(case, cell_of, tmp_path):
    source, words = RAISES[case]
    data = {}
    if case == "a missing argument":
        (tmp_path / "p.csv").write_text("prompt\n" + "\n".join(["a prompt that is long"] * 8))
        data = {"data": str(tmp_path / "p.csv")}
    with pytest.raises(CellError) as caught:
        given_to(cell_of(source, **data))
    assert (caught.value.status, caught.value.code) == ("unsupported", "reward_failed")
    assert words in caught.value.text
    assert len(caught.value.text) < 300


def test_a_file_runs_once_in_a_process_and_is_the_one_that_was_checked(cell_of, tmp_path):
    count = "with open(__file__ + '.runs', 'a') as file:\n    file.write('x')\n"
    cell = cell_of(f"{count}def score(**given): return [0] * 4\n")
    assert not (tmp_path / "r.py.runs").exists()
    for _ in range(2):
        open_reward(open_setup(cell, CPU, seed=0))
    assert (tmp_path / "r.py.runs").read_text() == "x"
    assert not (tmp_path / "__pycache__").exists()
    (tmp_path / "r.py").write_text("def score(**given): return [1] * 4\n")
    user_reward._loaded.cache_clear()
    with pytest.raises(CellError, match="not the file that was checked before") as caught:
        open_reward(open_setup(cell, CPU, seed=0))
    assert caught.value.code == "reward_changed"


def test_its_folder_and_the_working_directory_shadow_nothing(cell_of, tmp_path, monkeypatch):
    (tmp_path / "statistics.py").write_text("raise RuntimeError('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    source = (
        "import dataclasses, statistics\n@dataclasses.dataclass\nclass Own:\n    x: 'int' = 2\n"
        "def score(**given): return [statistics.mean([Own().x, 4])] * 4\n"
    )
    cell = cell_of(source)
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "groups")
    assert open_reward(open_setup(cell, CPU, seed=0)).of(batch.ids, batch).tolist() == [3.0] * 4


LENGTH = (
    "def score(completion_ids, **given):\n"
    "    return [(len(ids) - (ids[-1] == 2)) / 8 for ids in completion_ids]\n"
)


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_it_trains_as_the_packaged_function_of_the_same_numbers(method, cell_of, make_cell):
    """Tokens before the end, which is id 2, of 8: eighths are exact. Some answers end early."""

    def found(cell):
        step = open_method(method).build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        steps = [step.run(source.take(n, CPU, "groups"), SilentProbe()) for n in range(3)]
        return [(s.loss.item(), s.metrics["score"].item()) for s in steps]

    packaged = found(make_cell(**{**SHAPE, "method": method}, reward="length"))
    assert found(cell_of(LENGTH, method=method)) == packaged
    assert any(score < 1 for _, score in packaged)


QUICK = Settings(steps=3, sample_hz=0)


def recorded(cell, launcher):
    return measure(Planned(cell=cell, unsupported=None), 0, QUICK, launcher).record


@pytest.mark.exhaustive
def test_a_record_has_its_phase_its_digest_and_a_reference_of_the_same_function(
    cell_of, launcher, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    slow = "import time\ndef score(completions, **given):\n    time.sleep(0.05)\n"
    slow += "    return [len(text) / 10 for text in completions]\n"
    record = recorded(cell_of(slow, kernels="custom"), launcher)
    assert (record.status, record.reason) == ("ok", None)
    assert record.phases["reward"].median_s >= 0.05
    assert record.cell.reward_digest
    assert record.numerics.agrees is True
    (reference,) = (tmp_path / "cache").rglob("references/*.json")
    scores = msgspec.json.decode(reference.read_bytes())["signals"]["score"]
    assert all(0 <= score <= 0.8 for score in scores)


@pytest.mark.full
def test_a_function_that_fails_is_a_record_with_a_reason(cell_of, launcher):
    record = recorded(cell_of("def score(**given):\n    return [1 / 0]\n"), launcher)
    assert (record.status, record.reason.code) == ("unsupported", "reward_failed")
    assert "r.py: score raised ZeroDivisionError: division by zero (line 2)" in record.reason.text
    assert "alignmeter/" not in record.reason.text


@pytest.mark.full
def test_a_function_that_finds_no_memory_is_out_of_memory(cell_of, launcher):
    source = "def score(**given):\n    raise MemoryError('of the user')\n"
    record = recorded(cell_of(source), launcher)
    assert (record.status, record.reason.code) == ("oom", "out_of_memory")


def test_without_a_tokenizer_there_are_no_texts_to_judge(tmp_path):
    """Too few ids for bytes: drawn ids train the model, and a function has nothing to read."""
    (tmp_path / "r.py").write_text(LENGTH)
    axes = {"accelerator": "cpu", "data": "synthetic", "method": "grpo", "seq_len": 16}
    folder = tmp_path / "narrow"
    config = LlamaConfig(**{**SMALL, "vocab_size": 100}, **ATTENTION)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    axes["model"] = str(folder)
    assert resolve_cell(axes).unsupported is None
    reason = resolve_cell({**axes, "reward": f"{tmp_path}/r.py:score"}).unsupported
    assert reason.code == "impossible"
    assert reason.text.startswith("a reward function is given texts, and the checkpoint brings no")
    assert reason.text.endswith("use reward model")
