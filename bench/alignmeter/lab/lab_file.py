"""LAB.toml: the matrix of a lab, and its classes of nodes with the environment of each.

```toml
schema = 1
matrix = "night.toml"        # packaged, or a file beside this one
replicates = 3

[class.b200]
accelerator = "cuda"
python = "/opt/cuda-env/bin/python"
gres = "gpu:b200"

[class.mi300x]
accelerator = "rocm"
command = ["apptainer", "exec", "--rocm", "/images/rocm.sif", "alignmeter"]
constraint = "mi300x"
```
"""

__all__ = ["JOBS", "Lab", "NodeClass", "Pod", "read_lab"]

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from alignmeter.accelerators import open_accelerator
from alignmeter.analysis.chips import peaks
from alignmeter.cells.axes import AXES
from alignmeter.cells.toml_document import read_table, read_toml
from alignmeter.cells.values import check_value
from alignmeter.errors import InputError, known
from alignmeter.registry import ACCELERATORS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""It is the name of a folder, and part of a job's."""
JOBS = "jobs"
"""The folder beside those of the classes."""


def _words(example: str) -> Meta:
    return Meta(description=f"write a list of texts, e.g. {example}")


_Count = Annotated[int, Meta(ge=1, le=1000, description="give a whole number of 1 to 1000")]
_WITHOUT_NUL = r"^[^\0]+\Z"
"""What a system takes for the name of a file, and as a word of a command."""
_Path = Annotated[str, Meta(pattern=_WITHOUT_NUL, description="give a path, as a text")]
_Text = Annotated[str, Meta(pattern=_WITHOUT_NUL, description="give a text that is not empty")]

_Texts = Annotated[
    dict[str, Annotated[str, Meta(description="give a text")]],
    Meta(description="write a table of texts"),
]


class NodeClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nodes that are alike, and how a command is run on them.

    ``chip``: which `alignmeter devices` has to find there. ``python`` or ``command``: an
    interpreter that has alignmeter, or what ends in its command; this interpreter by default.
    ``matrix``: instead of the lab's. ``chunk``: replicates of one job. ``throttle``: jobs of it at
    once. ``requires``: as of ``alignmeter devices --require``, checked when a job starts.
    ``nodes``: among which a cell of several devices has them; one has the others. ``gres``: without
    its count, which follows from the cells. ``sbatch``: more of its options. ``ray``: a resource
    that Ray's nodes of this class have, and no others. ``runner``: labels of a CI's own runner.
    ``kubernetes``: a table, `Pod`.
    """

    accelerator: Annotated[str, Meta(description=f"give one of {', '.join(ACCELERATORS)}")]
    chip: _Text | None = None
    python: _Path | None = None
    command: Annotated[list[_Text], Meta(min_length=1), _words('["docker", "run", "image"]')] | (
        None
    ) = None
    modules: Annotated[list[_Text], _words('["cuda/13.0"]')] = []
    environment: _Texts = {}
    lane: _Text = str(AXES["lane"].default)
    matrix: _Path | None = None
    chunk: _Count = 8
    requires: Annotated[list[_Text], _words('["idle", "disk"]')] = []
    partition: _Text | None = None
    constraint: _Text | None = None
    gres: Annotated[
        str, Meta(pattern=r"^[A-Za-z_]+(:[A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*)?\Z",
                  description="give gpu or gpu:TYPE, without a count"),
    ] | None = None  # fmt: skip
    time_limit: Annotated[
        str, Meta(pattern=r"^(\d+-)?\d+(:\d\d){0,2}\Z", description='give e.g. "4:00:00"')
    ] | None = None  # fmt: skip
    throttle: _Count | None = None
    nodes: _Count = 1
    sbatch: Annotated[list[_Text], _words('["--exclusive"]')] = []
    ray: _Text | None = None
    runner: Annotated[list[_Text], _words('["self-hosted", "b200"]')] = []
    kubernetes: Annotated[dict[str, Any], Meta(description="write a table")] = {}

    @property
    def program(self) -> list[str]:
        """The words that run alignmeter on its nodes."""
        if self.command is not None:
            return list(self.command)
        return [self.python or sys.executable, "-P", "-m", "alignmeter"]

    def nodes_of(self, devices: int) -> int:
        """On how many nodes a job of so many devices runs."""
        return self.nodes if devices > 1 else 1


class Pod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[class.NAME.kubernetes]: where its cells run in Kubernetes.

    ``image``: of a container that has alignmeter. ``claim``: the PersistentVolumeClaim with the
    folder of LAB.toml. ``limits``, ``node_selector``: as Kubernetes has them.
    """

    image: Annotated[str, Meta(min_length=1, description="name an image that has alignmeter")]
    claim: Annotated[
        str,
        Meta(
            min_length=1,
            description="name the PersistentVolumeClaim that holds the folder of this file",
        ),
    ]
    limits: _Texts = {}
    node_selector: _Texts = {}


class _Document(Struct, kw_only=True, forbid_unknown_fields=True, rename={"classes": "class"}):
    matrix: _Path
    classes: Annotated[
        dict[str, Annotated[dict[str, Any], Meta(description="write a table, [class.NAME]")]],
        Meta(min_length=1, description="write a table for each class of nodes, [class.NAME]"),
    ]
    replicates: _Count = 3
    retries: Annotated[int, Meta(ge=0, le=10, description="give a whole number of 0 to 10")] = 1
    out: _Path = "results"
    notify: _Path | None = None
    store: _Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """What a LAB.toml says. ``where``: its path as it was given; ``out``: where nights lie.

    ``replicates``: of each cell; ``retries``: second tries of one that is temporarily invalid.
    ``notify``: the URL of a webhook, or the file, that a morning's news goes to. ``store``: where
    nights are compacted.
    """

    where: str
    folder: Path
    matrix: str
    replicates: int
    retries: int
    out: Path
    classes: Mapping[str, NodeClass]
    notify: str | None = None
    store: Path | None = None

    def only(self, names: tuple[str, ...]) -> "Lab":
        """With these classes alone; all if none is named.

        Raises `InputError` for one that is not in the file.
        """
        for name in names:
            if name not in self.classes:
                raise InputError(
                    f"{self.where}: there is no [class.{name}]; {known(self.classes, name)}"
                )
        chosen = {name: self.classes[name] for name in names} or self.classes
        return replace(self, classes=chosen)

    def by_this_python(self) -> "Lab":
        """With classes that run this interpreter, where theirs is not: in a container's image."""
        plain = {
            name: msgspec.structs.replace(chosen, python=None, command=None, modules=[])
            for name, chosen in self.classes.items()
        }
        return replace(self, classes=plain)


def read_lab(path: Path) -> Lab:
    """The lab of a file, whose paths are relative to it.

    Raises `InputError` naming the file, the table and the field, and what would be right.
    """
    document = read_toml(path, _Document)
    folder = path.parent
    out = folder / document.out
    store = None if document.store is None else folder / document.store
    if store is not None and store.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"{path}: store is {document.store!r}, in the folder of the nights, "
            f"{document.out!r}; give a folder beside it"
        )
    return Lab(
        where=str(path),
        folder=folder,
        matrix=document.matrix,
        replicates=document.replicates,
        retries=document.retries,
        out=out,
        notify=document.notify,
        store=store,
        classes={name: _node_class(name, t, path) for name, t in document.classes.items()},
    )


def _node_class(name: str, table: dict[str, Any], path: Path) -> NodeClass:
    if not _NAME.fullmatch(name) or name == JOBS:
        raise InputError(
            f"{path}: [class.{name}] is the name of a folder; give letters, digits, - and _, at "
            f"most 32, and not {JOBS}, where a night's jobs are"
        )
    where = f"{path}: [class.{name}]"
    found = read_table(table, NodeClass, where)
    if found.accelerator not in ACCELERATORS:
        raise InputError(f"{where}: accelerator is {found.accelerator!r}; {known(ACCELERATORS)}")
    check_value("lane", found.lane, where, None)
    if found.chip is not None:
        _check_chip(found.chip, found.accelerator, where)
    if found.python is not None and found.command is not None:
        raise InputError(f"{where}: python and command are both given; give one of them")
    if found.kubernetes:
        read_table(found.kubernetes, Pod, f"{path}: [class.{name}.kubernetes]")
    for variable, value in found.environment.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or "\0" in value:
            raise InputError(f'{where}: {variable!r} cannot be a variable; give NAME = "value"')
    return found


def _check_chip(chip: str, accelerator: str, where: str) -> None:
    """A node's devices are of a chip of the table, or of none that it could be compared with."""
    if not open_accelerator(accelerator).device_nodes:
        raise InputError(
            f"{where}: chip is {chip!r}, and {accelerator} has no chip that is known; leave it out"
        )
    if chip not in peaks():
        raise InputError(f"{where}: chip is {chip!r}; {known(peaks(), chip)}")
