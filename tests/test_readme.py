"""Every command in the README and the docs is real."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from alignmeter.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(program):
    """Every command of that program on the pages, as test parameters."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:console|sh)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                line = line.removeprefix("$ ").split("  #")[0].strip()
                for part in line.split(" && "):
                    if part.split(" ")[0] == program:
                        found += [pytest.param(part, id=f"{page.name}: {part}")]
    return found


@pytest.mark.parametrize("command", commands("alignmeter"))
def test_alignmeter_commands_parse(command):
    """Every command and option that the pages name exists; running them is tested elsewhere."""
    _, name, *arguments = shlex.split(command)
    if name.startswith("-"):
        return
    chosen = cli.commands[name]
    chosen.make_context(name, arguments, resilient_parsing=False)


@pytest.mark.parametrize("command", commands("tox"))
def test_tox_environments_exist(command):
    words = shlex.split(command)
    if "-e" in words:
        for name in words[words.index("-e") + 1].split(","):
            assert f"[testenv:{name}]" in (ROOT / "tox.ini").read_text()


@pytest.mark.parametrize("command", commands("pytest"))
def test_pytest_options_exist(command, pytestconfig):
    words = shlex.split(command)[1:]
    _, unknown = pytestconfig._parser.parse_known_and_unknown_args(words)
    assert unknown == []


def test_ci_runs_the_readmes_test_commands_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    run = [line.removeprefix(".tox/ci/bin/") for line in lines if line.startswith(".tox/ci/bin/")]
    assert run == ["pip install --quiet tox", "tox", "tox -e full,older,docs,dist,lab"]
    text = (ROOT / "README.md").read_text()
    assert "pip install tox && tox\n" in text
    assert "tox -e full,older,docs,dist,lab " in text


def test_the_table_of_sizes_is_what_the_command_prints():
    """If this fails: alignmeter sizes --markdown, and put the table into docs/sizes.md."""
    printed = CliRunner().invoke(cli, ["sizes", "--markdown"]).output
    assert "| 8b | 128256 |" in printed
    assert printed in (ROOT / "docs" / "sizes.md").read_text()


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    """Those in examples of what to add are not."""
    text = re.sub(r"```python.*?```", "", page.read_text(), flags=re.DOTALL)
    named = r"(?<![\w/])((?:tests|bench|suites|reports|kernels)/[\w/.-]+\.\w+)"
    for path in re.findall(named, text):
        assert (ROOT / path).exists() or "NAME" in path, path
    for path in re.findall(r"`([a-z_]+/[\w/]+\.(?:py|toml))`", text):
        places = (ROOT, ROOT / "bench" / "alignmeter", ROOT / "reports" / "alignmeter_reports")
        assert any((place / path).exists() for place in places) or "NAME" in path, path


def test_help_of_every_command():
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name, terminal_width=80)
        text = command.get_help(context)
        assert max(map(len, text.splitlines())) <= 80
        assert command.help
