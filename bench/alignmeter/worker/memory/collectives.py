"""Whose memory it is that collectives, and FSDP around them, read and write."""

__all__ = ["COMMUNICATION", "GATHERED", "held_on", "is_collective", "kind_of", "sent_by", "used_by"]

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch

from alignmeter.worker.memory.torch_internals import tree_leaves

GATHERED: Final = "gathered_weights"
COMMUNICATION: Final = "communication"
_COLLECTIVES = frozenset({"c10d", "_c10d_functional"})
"""Namespaces of torch's collectives; their operators differ in everything else."""

_Tensors = Iterable[torch.Tensor]


def used_by(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
) -> Iterator[tuple[str, _Tensors]]:
    """Owner -> the tensors that the operator says are its; nothing for any other operator.

    FSDP gathers weights into one buffer and copies them out into one for each weight; it copies
    gradients into a buffer that it reduces and shares out. What comes of that are gradients too,
    once a weight has them.
    """
    if is_collective(str(func)):
        yield COMMUNICATION, _tensors((args, kwargs, output))
    elif func.namespace == "fsdp":
        yield from _around(str(func).split(".")[1], args, kwargs)


def _around(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, _Tensors]]:
    if name == "all_gather_copy_in":
        yield GATHERED, _tensors(args[1])
        yield COMMUNICATION, _tensors(args[0])  # casts of shares; shares themselves have an owner
    elif name == "split_with_sizes_copy":
        yield GATHERED, _tensors(kwargs["out"])
    elif name == "chunk_cat":
        yield "gradients", _tensors(args[0])
        yield COMMUNICATION, _tensors(kwargs["out"])


def _tensors(found: Any) -> _Tensors:
    return (leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor))


def is_collective(operator: str) -> bool:
    """Whether an operator of that name, such as ``c10d.allreduce_.default``, is one."""
    return operator.partition(".")[0] in _COLLECTIVES


def held_on(operators: Sequence[str], hidden: Sequence[int]) -> list[int]:
    """Bytes at the begin of each operator that earlier collectives took and still hold.

    ``hidden``: bytes that no tensor known accounts for, at the begin of each operator. A CPU's
    collectives are other threads' work on copies, which are freed when those come to it.
    """
    held, now = [0] * len(hidden), 0
    for at in range(1, len(hidden)):
        change = hidden[at] - hidden[at - 1]
        if change < 0 or is_collective(operators[at - 1]):
            now = max(now + change, 0)
        held[at] = now
    return held


def sent_by(func: Any, args: tuple[Any, ...]) -> tuple[str, int] | None:
    """Kind of a collective and the bytes of the whole tensors that it gathers or reduces.

    ``None`` for any other operator, for barriers, and where a rank has all of it already.
    """
    if not is_collective(str(func)):
        return None
    kind = kind_of(func.overloadpacket.__name__)
    first, second = (_nbytes(args[at : at + 1]) for at in range(2))
    if kind is None or (kind != "all_reduce" and first == second):
        return None
    return kind, max(first, second)


_KINDS = {
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "allreduce": "all_reduce",
    "broadcast": "broadcast",
}
"""How an operator's name begins -> what it does."""


def _nbytes(given: Any) -> int:
    return sum(tensor.nbytes for tensor in _tensors(given))


def kind_of(name: str) -> str | None:
    """Kind of the collective whose operator has that name, without its namespace."""
    plain = name.strip("_").replace("all_", "all")
    return next((kind for start, kind in _KINDS.items() if plain.startswith(start)), None)
