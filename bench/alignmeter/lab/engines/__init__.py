"""Engines: who runs jobs on nodes. One file each, behind `base.Engine`."""

__all__ = ["ENGINES", "check_nodes", "open_engine"]

from alignmeter.errors import InputError
from alignmeter.lab.engines.base import Engine
from alignmeter.lab.lab_file import Lab
from alignmeter.registry import Row, load

ENGINES: dict[str, Row] = {
    "local": Row(path="alignmeter.lab.engines.local:Local", default=True),
    "ray": Row(path="alignmeter.lab.engines.ray:Ray"),
    "slurm": Row(path="alignmeter.lab.engines.slurm:Slurm"),
}


def open_engine(name: str, lab: Lab, devices: tuple[int, ...] = ()) -> Engine:
    """The engine of that name for the lab's classes.

    ``devices``: numbers of those that it may use, as torch has them; all if there are none. Raises
    `InputError` for a name without a row, where the engine does not choose devices, and as
    `check_nodes`.
    """
    check_nodes(name, lab)
    engine: Engine = load(ENGINES, name)(lab, devices)
    return engine


def check_nodes(name: str, lab: Lab) -> None:
    """Raises `InputError` for a class whose cells have several nodes, where the engine starts a job
    on one.
    """
    if load(ENGINES, name).several_nodes:
        return
    for key, chosen in lab.classes.items():
        if chosen.nodes > 1:
            able = " or ".join(n for n in ENGINES if load(ENGINES, n).several_nodes)
            raise InputError(
                f"{lab.where}: [class.{key}]: nodes is {chosen.nodes}, and the {name} engine "
                f"starts a job on one; use {able}, or start the cell there by torchrun"
            )
