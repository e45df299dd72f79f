"""The classes of a lab as jobs of a CI with runners of its own, or of Kubernetes."""

__all__ = ["FORMATS", "job_matrix"]

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignmeter.accelerators import open_accelerator
from alignmeter.cells.toml_document import read_table
from alignmeter.errors import InputError
from alignmeter.lab.engines import check_nodes
from alignmeter.lab.job import NODE_VARIABLE
from alignmeter.lab.lab_file import Lab, Pod

_ENGINE = "local"
"""Which runs a class where its job is."""
_TRIES = 2
"""More pods after one that failed: the same command goes on where it ended."""
_FOLDER = "/lab"
_NAME = 63
"""Characters of a label of DNS, which the name of a Job is."""


def _command(file: str, name: str, night: str) -> list[str]:
    return ["alignmeter", "lab", "run", file, "--engine", _ENGINE, "--night", night,
            "--class", name]  # fmt: skip


def _labels(lab: Lab, name: str) -> list[str]:
    labels = lab.classes[name].runner
    if not labels:
        raise InputError(
            f"{lab.where}: [class.{name}]: runner is missing; write the labels of its runner, "
            'e.g. ["self-hosted", "b200"]'
        )
    return labels


def _github(lab: Lab, night: str) -> object:
    """A value of ``strategy.matrix``: each entry has ``class``, ``runs_on`` and ``command``."""
    return {
        "include": [
            {
                "class": name,
                "runs_on": _labels(lab, name),
                "command": shlex.join(_command(lab.where, name, night)),
            }
            for name in lab.classes
        ]
    }


def _gitlab(lab: Lab, night: str) -> object:
    """A child pipeline; JSON is YAML."""
    return {
        f"measure {name}": {
            "tags": _labels(lab, name),
            "script": [shlex.join(_command(lab.where, name, night))],
            "artifacts": {"when": "always", "paths": [f"{lab.out}/"]},
        }
        for name in lab.classes
    }


def _kubernetes(lab: Lab, night: str) -> object:
    """A List of Jobs (batch/v1), for ``kubectl apply -f -``; JSON is YAML.

    Source: the API reference of Kubernetes 1.33, and its page on scheduling GPUs.
    """
    if not lab.out.resolve().is_relative_to(lab.folder.resolve()):
        raise InputError(
            f"{lab.where}: out is {str(lab.out)!r}; give a folder beside the file, which a claim "
            "holds with it"
        )
    names = {name: _dns_name(f"{name}-{night}") for name in lab.classes}
    if len(set(names.values())) < len(names):
        raise InputError(
            f"{lab.where}: two classes have one name in Kubernetes, which knows small letters, "
            "digits and - only; rename one"
        )
    jobs = [_job(lab, name, names[name], night) for name in lab.classes]
    return {"apiVersion": "v1", "kind": "List", "items": jobs}


def _dns_name(text: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:_NAME].strip("-")


def _job(lab: Lab, name: str, job: str, night: str) -> dict[str, Any]:
    chosen = lab.classes[name]
    pod = read_table(chosen.kubernetes, Pod, f"{lab.where}: [class.{name}.kubernetes]")
    container = {
        "name": "alignmeter",
        "image": pod.image,
        # The image is its environment: what nodes have elsewhere is not in it.
        "command": [
            *_command(f"{_FOLDER}/{Path(lab.where).name}", name, night),
            "--this-python",
        ],
        "workingDir": _FOLDER,
        "env": [
            {"name": NODE_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            # A dollar is doubled: Kubernetes expands $(NAME) and makes one of two.
            *({"name": n, "value": v.replace("$", "$$")} for n, v in chosen.environment.items()),
        ],
        "resources": {"limits": _limits(chosen.accelerator, pod)},
        "volumeMounts": [
            {"name": "lab", "mountPath": _FOLDER},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - the container's own
        ],
    }
    volumes = [
        {"name": "lab", "persistentVolumeClaim": {"claimName": pod.claim}},
        # What a container has by default, 64 MiB, is too little for several devices.
        {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
    ]
    inside = {
        "restartPolicy": "Never",
        "nodeSelector": pod.node_selector,
        "containers": [container],
        "volumes": volumes,
    }
    labels = {"app.kubernetes.io/name": "alignmeter", "alignmeter/class": name.strip("_-")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job, "labels": labels},
        "spec": {
            "backoffLimit": _TRIES,
            "template": {"metadata": {"labels": labels}, "spec": inside},
        },
    }


def _limits(accelerator: str, pod: Pod) -> dict[str, str]:
    """One device, unless the class says which of its vendor's and how many."""
    resource = open_accelerator(accelerator).kubernetes
    vendor = resource.partition("/")[0]
    if not resource or any(name.partition("/")[0] == vendor for name in pod.limits):
        return dict(pod.limits)
    return {resource: "1", **pod.limits}


FORMATS: dict[str, Callable[[Lab, str], object]] = {
    "github": _github,
    "gitlab": _gitlab,
    "kubernetes": _kubernetes,
}
"""Name -> what makes a document of a lab for a night."""


def job_matrix(lab: Lab, form: str, night: str) -> str:
    """JSON: a job per class, which measures it on the devices that the job finds.

    Raises `InputError` for a class without what the form needs: labels of a runner, a pod's table;
    and for one of several nodes, since the local engine runs each job.
    """
    check_nodes(_ENGINE, lab)
    return json.dumps(FORMATS[form](lab, night))
