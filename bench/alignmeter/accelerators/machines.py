"""Machines that take steps together: one process of alignmeter on each, as torchrun starts them."""

__all__ = ["Machine", "ranks_here", "this_machine"]

import os
from dataclasses import dataclass

from alignmeter.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The one with that ``number`` of ``count``; ``address`` and ``port``: where they meet."""

    number: int = 0
    count: int = 1
    address: str = ""
    port: int = 0


def this_machine() -> Machine:
    """As RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say, torchrun's variables; alone without.

    Raises `InputError` where they contradict each other, and where torchrun started several
    processes on one machine: ranks of a step are started by the process that is there.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ:
        return Machine()
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if here != "1":
        raise InputError(
            f"LOCAL_WORLD_SIZE is {here}, as torchrun sets it for so many processes of a machine; "
            "alignmeter starts the ranks of a step itself: give torchrun --nproc-per-node 1, and "
            "leave it out on one machine"
        )
    number, count, port = map(_number, ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    address = os.environ.get("MASTER_ADDR", "")
    if not address or number >= count:
        raise InputError(
            f"RANK is {number}, WORLD_SIZE {count} and MASTER_ADDR {address!r}; of M machines give "
            "RANK 0 to M - 1, WORLD_SIZE M, and the first one's address, as torchrun does, or "
            "unset them"
        )
    return Machine(number=number, count=count, address=address, port=port)


def ranks_here(world_size: int) -> int:
    """How many of so many ranks each machine has, the largest number where it does not divide."""
    return -(-world_size // this_machine().count)


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if not text.isdecimal():
        raise InputError(f"{variable} is {text!r} beside RANK and WORLD_SIZE; give a whole number")
    return int(text)
