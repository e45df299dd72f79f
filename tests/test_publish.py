"""The workflow that would publish: it was never run, so what it must not do is held here."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PATH = ROOT / ".github" / "workflows" / "publish.yml"
WORKFLOW = yaml.safe_load(PATH.read_text())


def test_only_what_publishes_may_ask_for_a_token_and_nothing_keeps_one():
    jobs = WORKFLOW["jobs"]
    assert WORKFLOW["permissions"] == {}
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert not re.search(r"secrets\.|password:|api-token", PATH.read_text())
    assert PATH.read_text().startswith("# Prepared and never run")


def test_it_publishes_what_tox_built_and_checked():
    build = WORKFLOW["jobs"]["build"]["steps"]
    commands = [step["run"] for step in build if "run" in step]
    assert "pip install tox && tox -e dist" in commands
    (kept,) = [step["with"] for step in build if "upload-artifact" in step.get("uses", "")]
    assert kept["path"] == ".tox/dist/dist/"
    assert "{env_dir}/dist" in (ROOT / "tox.ini").read_text().partition("[testenv:dist]")[2]
    assert WORKFLOW["jobs"]["publish"]["needs"] == "build"


def test_its_check_of_the_tag_reads_the_version_s_own_line():
    (command,) = [s["run"] for s in WORKFLOW["jobs"]["build"]["steps"] if "__version__" in str(s)]
    place = command.split()[-1]
    assert re.search(r'^__version__ = "[^"]+"$', (ROOT / place).read_text(), re.MULTILINE)
