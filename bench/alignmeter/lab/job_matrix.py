"""The classes of a lab as jobs of a CI with runners of its own."""

__all__ = ["FORMATS", "job_matrix"]

import json
import shlex
from collections.abc import Callable, Mapping

from alignmeter.errors import InputError
from alignmeter.lab.lab_file import Lab


def _github(lab: Lab, commands: Mapping[str, list[str]]) -> object:
    """A value of ``strategy.matrix``: each entry has ``class``, ``runs_on`` and ``command``."""
    return {
        "include": [
            {"class": name, "runs_on": lab.classes[name].runner, "command": shlex.join(command)}
            for name, command in commands.items()
        ]
    }


def _gitlab(lab: Lab, commands: Mapping[str, list[str]]) -> object:
    """A child pipeline; JSON is YAML."""
    return {
        f"measure {name}": {
            "tags": lab.classes[name].runner,
            "script": [shlex.join(command)],
            "artifacts": {"when": "always", "paths": [f"{lab.out}/"]},
        }
        for name, command in commands.items()
    }


FORMATS: dict[str, Callable[[Lab, Mapping[str, list[str]]], object]] = {
    "github": _github,
    "gitlab": _gitlab,
}
"""Name -> what makes a document of a lab and of each class's command."""


def job_matrix(lab: Lab, form: str, night: str) -> str:
    """JSON: a job per class, which measures it on the runner's own devices.

    Raises `InputError` for a class without labels of a runner.
    """
    for name, chosen in lab.classes.items():
        if not chosen.runner:
            raise InputError(
                f"{lab.where}: [class.{name}]: runner is missing; write the labels of its runner, "
                'e.g. ["self-hosted", "b200"]'
            )
    command = ["alignmeter", "lab", "run", lab.where, "--engine", "local", "--night", night]
    commands = {name: [*command, "--class", name] for name in lab.classes}
    return json.dumps(FORMATS[form](lab, commands))
