"""Bad input is told before torch is imported, which takes seconds."""

import subprocess
import sys

import pytest

CODE = (
    "import sys; from alignmeter.cli import main\n"
    "try:\n    main()\n"
    "finally:\n    sys.stdout.write(str('torch' in sys.modules))\n"
)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --data nothing.jsonl", "--data: data file 'nothing.jsonl' does not exist"),
        ("run --model ./nothing", "--model: './nothing' does not exist, and is neither"),
        ("plan --model no/such/place", "--model: 'no/such/place' does not exist, and is neither"),
        ("cell --method nothing", "--method: 'nothing' is not a value of method"),
        ("cell --data nothing.jsonl", "--data: data file 'nothing.jsonl' does not exist"),
        ("cell --method dpo,ppo", "one cell has one method; got dpo, ppo"),
        ("cell nothing.json", "nothing.json: cannot be read"),
        ("kernels --dtypes nothing", "--dtypes: 'nothing' is not one of them"),
        ("kernels --kernels nothing", "--kernels: 'nothing' is not one of them; known: linear_log"),
        ("kernels --targets nothing", "--targets: 'nothing' is not one of them; known: sm_80"),
        ("plan --for nothing", "'nothing' is not a known chip"),
        ("suite nothing", "'nothing' is no suite"),
    ],
    ids=lambda value: value.partition(":")[0],
)
def test_an_error_without_torch(command, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, *command.split()], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stdout == "False"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("KeyboardInterrupt", "\nStopped.\n"),
        ("KeyboardInterrupt('Stopped, and how to go on')", ""),  # whoever raised it has told it
    ],
    ids=["silent", "told"],
)
def test_a_word_after_ctrl_c_whatever_the_command_did(raised, said, tmp_path):
    code = (
        "from alignmeter.cli import main, sizes\n"
        f"def interrupted(**_):\n    raise {raised}\n"
        "sizes.callback = interrupted\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "sizes"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)
