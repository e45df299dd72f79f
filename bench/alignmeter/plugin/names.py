"""The names of our options, and who else has one of them."""

__all__: list[str] = []

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import pluggy
import pytest

from alignmeter.plugin.options import PREFIX, add_options

_PREFIXED = "alignmeter.plugin.prefixed"
_UNDO = "alignmeter_undo"
_OURS = str(Path(__file__).parent)
_INSTALLED = ("site-packages", "dist-packages")
"""Folders of what is installed, pytest's own plugins among it."""
_REFUSED = (ValueError, argparse.ArgumentError)
"""What pytest and argparse raise for a name that is taken."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """``--benchmark``, a flag per axis, and how to measure. Raises `pytest.UsageError`."""
    group = parser.getgroup("alignmeter", "alignment-training benchmarks")
    try:
        add_options(group, short=not pluginmanager.has_plugin(_PREFIXED))
    except _REFUSED as error:
        raise pytest.UsageError(_sentence(error, _owner(error, pluginmanager))) from error
    if not pluginmanager.has_plugin(_UNDO):
        pluginmanager.register(_Watch(pluginmanager), _UNDO)


class _Watch:
    """Sees the options of plugins and conftests that come later, until all are there."""

    def __init__(self, pluginmanager: pytest.PytestPluginManager) -> None:
        self._undo = pluginmanager.add_hookcall_monitoring(lambda *_: None, self._after)

    def _after(
        self, outcome: pluggy.Result[Any], hook_name: str, hook_impls: Sequence[Any],
        _: Mapping[str, object],
    ) -> None:  # fmt: skip
        error = outcome.exception
        if hook_name == "pytest_addoption" and isinstance(error, _REFUSED) and _is_ours(error):
            where = _file_of(hook_impls[-1].plugin)
            outcome.force_exception(pytest.UsageError(_sentence(error, where)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        """All options are there."""
        self._undo()


def _is_ours(error: Exception) -> bool:
    return any(name in _flags() for name in _names(error))


def _flags() -> frozenset[str]:
    recorder = _Recorder()
    add_options(recorder, short=True)  # type: ignore[arg-type]
    return frozenset(recorder.names)


class _Recorder:
    """Stands in for a group of options to ask which there are."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def addoption(self, *names: str, **about: object) -> None:
        """Keeps names and the value's name, which pytest keeps apart too."""
        self.names += [*names, str(about["dest"])]


def _names(error: Exception) -> list[str]:
    """The options in the error's words, and values, which pytest gives in quotes."""
    return re.findall(r"--[\w-]+|(?<=dest ')\w+", str(error))


def _sentence(error: Exception, where: str | None) -> str:
    named = next(iter(name for name in _names(error) if name in _flags()), str(error))
    flag = named if named.startswith("--") else f"--{named.replace('_', '-')}"
    both = f"{flag} is an option of alignmeter and of {where or 'another plugin'}"
    if flag.startswith(PREFIX):
        return f"{both}; call it otherwise there"
    return (
        f"{both}; load alignmeter with -p {_PREFIXED}, which has it as "
        f"{PREFIX}{flag.removeprefix('--')} only"
    )


def _owner(error: Exception, pluginmanager: pytest.PytestPluginManager) -> str | None:
    """The file of who had the name before us, found by the constants of its code.

    A name may be put together, or lie in a module that the plugin calls: it is then the conftest
    or plugin of somebody's own, if there is but one.
    """
    names, own = set(_names(error)), []
    for plugin in pluginmanager.get_plugins():
        code = getattr(getattr(plugin, "pytest_addoption", None), "__code__", None)
        where = _file_of(plugin)
        if code is None or where is None or where.startswith(_OURS):
            continue
        if names & set(_constants(code)):
            return where
        if not any(part in where for part in _INSTALLED):
            own.append(where)
    return own[0] if len(own) == 1 else None


def _file_of(plugin: object) -> str | None:
    """The file of a module, or of an object's class."""
    module = plugin if hasattr(plugin, "__file__") else sys.modules.get(type(plugin).__module__)
    return getattr(module, "__file__", None)


def _constants(code: CodeType) -> Iterator[object]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _constants(constant)
        elif isinstance(constant, tuple):
            yield from constant
        else:
            yield constant
