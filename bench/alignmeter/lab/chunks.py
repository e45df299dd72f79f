"""Which replicates come first, which come again, and how many of them make a job."""

__all__ = ["chunk", "first_tries", "informative_first", "second_try", "tries"]

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from alignmeter.cells.cell import Cell
from alignmeter.lab.job import Task
from alignmeter.records.record import Record
from alignmeter.records.temporary import temporarily_invalid


def first_tries(cells: Sequence[Cell], replicates: int, seed: int) -> Iterator[Task]:
    """Replicate k of every cell, k by k, each time in another order: a drift of the machine is
    nobody's.
    """
    for k in range(replicates):
        tasks = [Task(cell=cell, replicate=k) for cell in cells]
        random.Random(f"{seed}.{k}").shuffle(tasks)  # noqa: S311 - an order, not a secret
        yield from tasks


def informative_first(tasks: Iterable[Task], measured: Collection[str]) -> list[Task]:
    """What never was measured, then the first replicate of every cell, then the second, and so on.

    ``measured``: ids of cells that have a record from an earlier night.
    """
    return sorted(tasks, key=lambda task: (task.replicate, task.cell.id in measured))


def second_try(record: Record, replicates: int, retries: int) -> Task | None:
    """The replicate that is to be measured in the place of one that is temporarily invalid.

    Its number is free, so that both records stay: try t of replicate k is replicate
    ``k + t * replicates``. ``None`` where the record stands, or after ``retries`` tries.
    """
    if record.replicate // replicates >= retries or not temporarily_invalid(record):
        return None
    return Task(cell=record.cell, replicate=record.replicate + replicates)


def tries(
    first: Task, record_of: Callable[[Task], Record | None], replicates: int, retries: int
) -> Iterator[tuple[Task, Record | None]]:
    """A replicate and each try in its place, with its record: ``None`` of one that is yet to be
    measured, which is the last.
    """
    task: Task | None = first
    while task is not None:
        record = record_of(task)
        yield task, record
        task = None if record is None else second_try(record, replicates, retries)


def chunk(tasks: Sequence[Task], most: int) -> list[Task]:
    """The first tasks that make a job: at most so many, all for as many devices as the first."""
    if not tasks:
        return []
    devices = tasks[0].cell.world_size
    return list(islice((task for task in tasks if task.cell.world_size == devices), most))
