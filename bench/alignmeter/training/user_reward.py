"""A user's own reward: the function of a file, called as TRL's GRPO trainer calls such ones."""

__all__ = ["UserReward"]

import hashlib
import numbers
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.tracing import is_tracing
from alignmeter.batches import Batch
from alignmeter.batches.tokenizer import open_tokenizer
from alignmeter.cells.cell import Cell
from alignmeter.cells.places import place_of
from alignmeter.cells.reward_file import read_reward, split_reward
from alignmeter.errors import CellError
from alignmeter.text import plain, shortened, shown_path

_LONGEST = 90
"""Characters of what an exception says."""


class UserReward:
    """``function(prompts=, completions=, completion_ids=, chosen=)`` of the cell's file.

    It is called on texts and ids on the host, as often as there are steps. A plan has no values and
    calls nothing: it has the bytes of the rewards, and none of what the function takes.
    """

    def __init__(self, cell: Cell) -> None:
        """Raises `CellError` if the file is not what was checked, or fails while it is loaded."""
        self._path, self._name = split_reward(cell.reward)
        self._function = None
        if not is_tracing():
            self._function = _loaded(self._path, self._name, cell.reward_digest)
            self._tokenizer = open_tokenizer(cell)

    def models(self) -> dict[str, nn.Module]:
        """None: a function judges."""
        return {}

    @torch.no_grad()
    def of(self, ids: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Reward [R] in fp32 of each of ``ids`` [R, T]. Raises `CellError` for what is none."""
        values = [0.0] * len(ids)
        if self._function is not None:
            values = self._scores(self._function, ids, batch)
        return torch.tensor(values, dtype=torch.float32, device=ids.device)

    def _scores(self, function: Callable[..., Any], ids: torch.Tensor, batch: Batch) -> list[float]:
        given = self._given(ids, batch)
        try:
            found = function(**given)
        except (Exception, SystemExit) as error:
            raise self._error(_raised(place_of(self._path), error), "failed", len(ids)) from error
        return _numbers(found, len(ids), lambda what: self._error(what, "unfit", len(ids)))

    def _error(self, what: str, kind: str, rows: int) -> CellError:
        return CellError(
            "unsupported",
            f"reward_{kind}",
            f"{shown_path(self._path, 70)}: {shortened(self._name, 40)} {what}; it has to "
            f"return a list of {rows} finite numbers, one for each completion",
        )

    def _given(self, ids: torch.Tensor, batch: Batch) -> dict[str, list[Any]]:
        """Texts without special tokens, and ids of answers up to their first end, which is one."""
        rows, starts = ids.tolist(), _starts(batch, len(ids))
        new = ids.shape[1] - max(starts)
        answers = [row[at : at + new] for row, at in zip(rows, starts, strict=True)]
        ended = [_ended(answer, batch.eos) for answer in answers]
        prompts = [row[:at] for row, at in zip(rows, starts, strict=True)]
        given: dict[str, list[Any]] = {
            "prompts": self._tokenizer.decode_all(prompts),
            "completions": self._tokenizer.decode_all(ended),
            "completion_ids": ended,
        }
        chosen = _chosen(batch, starts)
        if any(chosen):  # prompts alone have none
            given["chosen"] = self._tokenizer.decode_all(chosen)
        return given


def _starts(batch: Batch, rows: int) -> Sequence[int]:
    """Tokens of each row's prompt."""
    return (batch.prompt_len,) * rows if batch.spans is None else batch.spans.prompts


def _ended(answer: list[int], eos: int) -> list[int]:
    return answer[: answer.index(eos) + 1] if eos in answer else answer


def _chosen(batch: Batch, starts: Sequence[int]) -> list[list[int]]:
    """The data's answer to each row's prompt, whose real tokens come first."""
    real = [int(sum(row)) for row in batch.response_mask.tolist()]
    rows = zip(batch.ids.tolist(), starts, real, strict=True)
    return [row[at : at + count] for row, at, count in rows]


def _numbers(found: Any, rows: int, unfit: Callable[[str], CellError]) -> list[float]:
    """What the function returned, as finite numbers of fp32. ``unfit``: the error that says why
    not.
    """
    if hasattr(found, "tolist"):  # a tensor of torch, an array of NumPy
        found = found.tolist()
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise unfit(f"returned {_article(type(found).__name__)}")
    if len(found) != rows:
        raise unfit(f"returned {len(found)} rewards for {rows} completions")
    values = [
        one.item() if isinstance(one, torch.Tensor) and one.ndim == 0 else one for one in found
    ]
    for number, value in enumerate(values, 1):
        if not isinstance(value, numbers.Real):
            what = "None" if value is None else _article(type(value).__name__)
            raise unfit(f"returned {what} for completion {number} of {rows}")
        if not _fits(value):
            said = shortened(str(value), 40)
            raise unfit(f"returned {said} for completion {number} of {rows}")
    return [float(value) for value in values]


def _fits(value: numbers.Real) -> bool:
    """Whether it is finite in fp32."""
    try:
        return abs(float(value)) <= torch.finfo(torch.float32).max
    except OverflowError:  # an integer beyond any float
        return False


def _article(kind: str) -> str:
    kind = shortened(plain(kind), 40)
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _raised(place: str, error: BaseException) -> str:
    """``ValueError: text (line 3)``, of the file's own last line that took part."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == place
    ]  # fmt: skip
    at = f" (line {lines[-1]})" if lines else ""
    said = shortened(plain(f"{type(error).__name__}: {error}".strip(": ")), _LONGEST)
    return f"raised {said}{at}"


@cache
def _loaded(path: str, function: str, digest: str) -> Callable[..., Any]:
    """The function of the file, which runs once in a process.

    Its folder is not put on the path of imports: neither its neighbours nor the working directory's
    files can stand before what is installed, and the digest is of the one file. Raises `CellError`.
    """
    source, place, shown = read_reward(path), place_of(path), shown_path(path)
    if hashlib.sha256(source).hexdigest() != digest:
        raise CellError(
            "unsupported", "reward_changed", f"{shown}: not the file that was checked before"
        )
    module = ModuleType(f"alignmeter_reward_{digest[:16]}")
    module.__file__ = place
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    try:
        exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's own
    except (Exception, SystemExit) as error:
        raise CellError(
            "unsupported",
            "reward_failed",
            f"{shown}: {_raised(place, error)} when it was loaded; a reward is one file, and what "
            "it imports has to be installed",
        ) from error
    found: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(found):
        what = "no such name" if found is None else _article(type(found).__name__)
        raise CellError(
            "unsupported",
            "reward_failed",
            f"{shown}: {shortened(function, 60)} is {what}, not a function; write def "
            f"{shortened(function, 60)}(prompts, completions, **kwargs)",
        )
    return found
