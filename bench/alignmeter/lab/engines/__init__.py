"""Engines: who runs jobs on nodes. One file each, behind `base.Engine`."""

__all__ = ["ENGINES", "open_engine"]

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
    `InputError` for a name without a row, and where the engine does not choose devices.
    """
    engine: Engine = load(ENGINES, name)(lab, devices)
    return engine
