"""A user's reward, ``FILE.py:function``: what can be known of it without running it."""

__all__ = ["GIVEN", "check_reward", "read_reward", "split_reward"]

import ast
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from alignmeter.cells.places import place_of
from alignmeter.errors import InputError, known
from alignmeter.text import shortened, shown_path

GIVEN = ("prompts", "completions", "completion_ids", "chosen")
"""What a step gives a function by name; ``chosen`` where the data have answers."""
_SHAPE = "write def {}(prompts, completions, **kwargs)"
_NO_FUNCTIONS = (
    ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.JoinedStr,
)  # fmt: skip
"""Expressions whose value nobody can call."""


def split_reward(written: str) -> tuple[str, str]:
    """Path and function of ``FILE.py:function``; either is empty where it is not written so."""
    path, _, function = written.rpartition(":")
    return path, function if function.isidentifier() else ""


def read_reward(path: str) -> bytes:
    """The file's bytes. Raises `InputError` if it cannot be read."""
    try:
        return Path(place_of(path)).read_bytes()
    except OSError as error:
        raise InputError(
            f"reward file {shown_path(path)!r} cannot be read: {error.strerror or error}"
        ) from error


def check_reward(written: str) -> str:
    """SHA-256 of the bytes of a reward's file, in hex, once it holds that function.

    Nothing of the file is run: a value that only running it would show is met in the worker.
    Raises `InputError` for a file that is not there or is no Python, and for a function that it
    does not have or that does not take what steps give.
    """
    path, function = split_reward(written)
    if not (path and function):
        raise InputError(f"{shown_path(written, 60)!r} names no function; give FILE.py:function")
    source, shown = read_reward(path), shown_path(path)
    found = _bound(_parsed(source, shown), function, shown)
    unfit = _unfit(found, function)
    if unfit is not None:
        where = f"{shown}, line {found.lineno}" if hasattr(found, "lineno") else shown
        raise InputError(f"{where}: {unfit}; {_SHAPE.format(function)}")
    return hashlib.sha256(source).hexdigest()


def _parsed(source: bytes, shown: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code, which is not compiled here
            return ast.parse(source)
    except SyntaxError as error:
        line = "" if error.lineno is None else f", line {error.lineno}"
        said = shortened(error.msg, 100)
        raise InputError(f"{shown}{line}: not Python: {said}; correct it") from error
    except (ValueError, RecursionError, MemoryError) as error:
        said = shortened(str(error) or type(error).__name__, 100)
        raise InputError(
            f"{shown}: not Python: {said}; give a text file with a function"
        ) from error


def _bound(module: ast.Module, function: str, shown: str) -> ast.AST:
    """The last thing that the file calls ``function``."""
    names = dict(_names(module.body))
    if function in names:
        return names[function]
    if "*" in names:  # imported with all that another module has
        return names["*"]
    callables = [name for name, node in names.items() if isinstance(node, ast.FunctionDef)]
    has = known(callables, function) if callables else "it has none"
    raise InputError(f"{shown}: no function {shortened(function, 60)!r} at its top level; {has}")


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """What these statements bind, those within an ``if``, ``try`` or ``with`` too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from _assigned(target, node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((a.asname or a.name.partition(".")[0], node) for a in node.names)
        else:
            for inner in ("body", "handlers", "orelse", "finalbody"):
                for part in getattr(node, inner, []):
                    yield from _names(part.body if isinstance(part, ast.ExceptHandler) else [part])


def _assigned(target: ast.expr, node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.AST]]:
    """Of several names at once nobody says which value is whose: the statement stands for each."""
    if isinstance(target, ast.Name):
        yield target.id, node.value or node
    elif isinstance(target, ast.Tuple | ast.List):
        yield from ((name.id, node) for name in target.elts if isinstance(name, ast.Name))


def _unfit(found: ast.AST, function: str) -> str | None:
    """Why steps cannot call it; ``None`` where they can, or where only running it would tell."""
    name = shortened(function, 60)
    if isinstance(found, ast.AsyncFunctionDef):
        return f"{name} is asynchronous, and steps wait for numbers"
    if isinstance(found, ast.ClassDef):
        return f"{name} is a class, not a function"
    if isinstance(found, _NO_FUNCTIONS):
        return f"{name} is a value, not a function"
    if not isinstance(found, ast.FunctionDef | ast.Lambda):
        return None
    if isinstance(found, ast.FunctionDef) and found.decorator_list:
        return None
    return _unfit_arguments(found.args, name)


def _unfit_arguments(args: ast.arguments, name: str) -> str | None:
    taken = [*args.args, *args.kwonlyargs]
    free = len(args.args) - max(0, len(args.defaults))
    unset = [arg for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if not value]
    wanted = [*args.posonlyargs, *args.args[: max(0, free)], *unset]
    for arg in wanted:
        if arg in args.posonlyargs or arg.arg not in GIVEN:
            return f"{name} wants {arg.arg!r}, and steps give {', '.join(GIVEN)} by name"
    left = [given for given in GIVEN if given not in {arg.arg for arg in taken}]
    if left and args.kwarg is None:
        return f"{name} does not take {left[0]!r}, which steps give by name"
    return None
