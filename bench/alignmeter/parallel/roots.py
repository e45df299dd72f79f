"""Entry points of sharded models: weights are whole within a call of their root, nowhere else."""

__all__ = ["attach", "root_of", "within"]

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

from torch import nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

_Answer = TypeVar("_Answer")
_ENTRY, _ROOT = "within_root", "_sharded_root"


def attach(root: nn.Module, model: nn.Module) -> None:
    """Let calls of ``model`` enter through ``root``, which holds its weights and is sharded."""
    # FSDP wraps the function that stands under the name, so it is put there once.
    if not hasattr(root, _ENTRY):
        setattr(root, _ENTRY, MethodType(_call, root))
        register_fsdp_forward_method(root, _ENTRY)
    # In a tuple: as an attribute of its own the root would become a child of what it holds.
    setattr(model, _ROOT, (root,))


def root_of(model: nn.Module) -> Any:
    """The `FSDPModule` through which ``model`` is entered; ``None`` where it is not sharded."""
    found: tuple[FSDPModule] | None = getattr(model, _ROOT, None)
    return None if found is None else found[0]


def within(model: nn.Module, function: Callable[..., _Answer], *given: Any) -> _Answer:
    """``function(*given)``, all weights of ``model`` whole where the function uses them.

    FSDP gathers weights before a root's forward and listens for gradients of what that gives; what
    reads a backbone or a head past the root would find shares. ``function`` must not call
    ``model`` itself, which is such an entry already; ``model.forward`` is none.
    """
    root = root_of(model)
    if root is None:
        return function(*given)
    answer: _Answer = getattr(root, _ENTRY)(function, *given)
    return answer


def _call(_: nn.Module, function: Callable[..., _Answer], *given: Any) -> _Answer:
    return function(*given)
