"""Functions of a modelling module that other code may run: whose is put in place, and what ran.

transformers takes mamba-ssm's and causal-conv1d's functions as soon as they can be imported, fused
ones for whole blocks among them. What ``kernels`` says is put over that here.
"""

__all__ = ["TORCH_CODE", "Operator", "forget_runs", "not_fused", "others_run"]

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from alignmeter.architectures.transformers_internals import behind

TORCH_CODE = "transformers torch"
"""What records call transformers' own code."""
_RUN: dict[str, str] = {}

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """One function of a modelling module.

    ``names``: what records call that which it computes. ``custom``: what takes its place with
    ``kernels = custom``; ``None``: transformers' torch code, where this project has no kernel.
    """

    names: tuple[str, ...]
    custom: Function | None = None

    def chosen(
        self, original: Function, kernels: str, packages: Mapping[str, str] | None
    ) -> Function:
        """What to put in the place of ``original``.

        Args:
            original: transformers' function as it was imported.
            kernels: value of the axis. With ``vendor`` transformers is left alone.
            packages: module -> name on the package index, of the packages that ``stock`` may run;
                ``None`` where they are built for no such device.
        """
        if kernels == "vendor":
            return original
        if kernels == "custom" and self.custom is not None:
            return self.custom
        found = behind(original)
        if kernels == "custom" or packages is None or found.runs is found.plain:
            return self._noting(_named(found.plain), TORCH_CODE)
        return self._noting(original, _package(found.runs, packages))

    def _noting(self, function: Function, path: str) -> Function:
        @functools.wraps(function)
        def noting(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if result is not None:  # a fused function that fused nothing
                _RUN.update(dict.fromkeys(self.names, path))
            return result

        return noting


def not_fused(*_: Any, **__: Any) -> None:
    """What a fused function returns where nothing is fused: the model then runs the parts."""


def others_run() -> dict[str, str]:
    """Operator -> the code of others that ran it last in this process."""
    return dict(_RUN)


def forget_runs() -> None:
    """Other code is in place from here on."""
    _RUN.clear()


def _named(plain: Function) -> Function:
    """``plain``, given the keywords that it names: transformers leaves out the others too."""
    names = frozenset(inspect.signature(plain).parameters)

    @functools.wraps(plain)
    def named(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **{name: value for name, value in kwargs.items() if name in names})

    return named


def _package(runs: Function | None, packages: Mapping[str, str]) -> str:
    """Name and version of the package that ``runs`` is from."""
    if runs is None:
        return f"unknown: transformers {metadata.version('transformers')} does not say"
    module = runs.__module__.partition(".")[0]
    package = packages.get(module, module)
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package}, version unknown"
