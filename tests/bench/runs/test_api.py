"""The Python interface: the names that the package promises, and the page's own examples."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import alignmeter

ROOT = Path(__file__).parents[3]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
SAMPLE = ROOT / "docs" / "sample"


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip


def test_every_promised_name_is_there_and_documented():
    for name in alignmeter.__all__:
        assert getattr(alignmeter, name).__doc__ or name == "__version__"
    page = (ROOT / "docs" / "python.md").read_text()
    functions = {n for n in alignmeter.__all__ if n.islower() and n != "__version__"}
    assert functions == set(re.findall(r"^\| `alignmeter\.([a-z_]+)\(", page, re.MULTILINE))
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        alignmeter.rnu  # noqa: B018 - asking is the test


def test_records_are_read_compared_and_reported_without_torch(tmp_path):
    done = script(
        tmp_path,
        "import sys, alignmeter\n"
        f"records = alignmeter.read_records({str(SAMPLE)!r})\n"
        "found = alignmeter.compare(records, records)\n"
        "assert {row.verdict for row in found.rows if row.metric == 'memory'} == {'equal'}\n"
        "assert found.compared > 1\n"
        "assert alignmeter.report(records, 'page.html').stat().st_size > 100_000\n"
        "assert 'torch' not in sys.modules\n",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda _: alignmeter.run_cell(methd="dpo"), "'methd' is no axis of a cell; nearest of"),
        (lambda _: alignmeter.plan(method="dpo,ppo"), "one cell has one method, not dpo, ppo"),
        (lambda _: alignmeter.plan(method="dpoo"), "'dpoo' is not a value of method"),
        (lambda _: alignmeter.run_cell(settings={"step": 3}), "'step' is no setting; known: steps"),
        (lambda _: alignmeter.run_cell(settings={"steps": 0}), "--steps is 0; give at least 1"),
        (lambda folder: alignmeter.read_records(folder), "no records in"),
        (lambda folder: alignmeter.read_records(folder / "none"), "no such folder"),
    ],
    ids=range(7),
)
def test_bad_input_is_one_sentence(tmp_path, call, words):
    with pytest.raises(alignmeter.InputError, match=words):
        call(tmp_path)


def test_a_cell_that_contradicts_itself_has_no_plan():
    with pytest.raises(alignmeter.NotPlannedError, match="full has no adapter to switch off"):
        alignmeter.plan(method="dpo", peft="full", ref="adapter-off", size="tiny")


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_pages_examples_run(tmp_path, number):
    """As scripts without a guard: workers must not run them again."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    done = script(tmp_path, EXAMPLES[number])
    assert done.returncode == 0, done.stderr
    memory = "'memory': 'equal'", "policy_weights_bytes"
    said = ("dpo ok", "ppo ok", "report.html") if number == 0 else memory
    for words in said:
        assert words in done.stdout
