"""Layouts of preference files: a row each, with the columns it is known by and its source."""

__all__ = ["LAYOUTS", "PROMPTS", "UNPAIRED", "Layout", "Layouts", "column_names"]

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from alignmeter.batches.messages import turns
from alignmeter.cells.columns import JUDGED, PAIR
from alignmeter.errors import InputError
from alignmeter.text import listed, plain, shortened

_TEXT, _TURNS, _MESSAGES, _MESSAGE = "text", "turns", "messages", "message"
_NONE = "none"
_MOST, _WIDTH = 120, 24
"""Characters of the columns that a sentence lists, and of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A row of the table. Columns are known in small or capital letters.

    ``prompt``: its column (``None``: the answers begin with it). ``more``: a column whose text
    follows the prompt's. ``system``: a column whose text comes before it. ``prompts``,
    ``answers``: what the values are; ``source``: where the layout is described or used.
    """

    name: str
    prompt: str | None
    chosen: str = "chosen"
    rejected: str = "rejected"
    system: str | None = None
    more: str | None = None
    prompts: tuple[str, ...] = (_TEXT,)
    answers: tuple[str, ...] = (_TEXT,)
    source: str

    def columns(self) -> dict[str, str]:
        """Field -> column, of those that every row must have."""
        fields = {"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected}
        return {name: column for name, column in fields.items() if column is not None}

    def optional(self, there: Container[str]) -> dict[str, str]:
        """The same of columns that a row may have, of those ``there``."""
        fields = {"more": self.more, "system": self.system}
        return {name: column for name, column in fields.items() if column and column in there}


_TRL = "https://huggingface.co/docs/trl/dataset_formats"
_FACTORY = "https://github.com/hiyouga/LLaMA-Factory/tree/main/data"

LAYOUTS: tuple[Layout, ...] = (
    Layout(name="plain", prompt="prompt", prompts=(_TEXT, _TURNS), source=_TRL),
    Layout(
        name="conversational", prompt="prompt", prompts=(_MESSAGES,), source=_TRL,
        answers=(_MESSAGES, _TEXT),
    ),
    Layout(
        name="ultrafeedback", prompt="prompt", answers=(_MESSAGES,),
        source="https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized",
    ),
    Layout(
        name="one-message-answers", prompt="prompt", prompts=(_MESSAGES, _TEXT),
        answers=(_MESSAGE,), source=_FACTORY,
    ),
    Layout(
        name="sharegpt", prompt="conversations", system="system", prompts=(_MESSAGES,),
        answers=(_MESSAGE, _MESSAGES, _TEXT), source=_FACTORY,
    ),
    Layout(
        name="orca", prompt="question", system="system", prompts=(_TEXT,),
        answers=(_TEXT, _TURNS, _MESSAGES),
        source="https://huggingface.co/datasets/Intel/orca_dpo_pairs",
    ),
    Layout(
        name="alpaca", prompt="instruction", more="input", system="system",
        answers=(_TEXT, _TURNS, _MESSAGES), source=_FACTORY,
    ),
    Layout(
        name="argilla", prompt="instruction", chosen="chosen_response",
        rejected="rejected_response", answers=(_TEXT, _TURNS),
        source="https://huggingface.co/datasets/argilla/ultrafeedback-binarized-preferences",
    ),
    Layout(
        name="distilabel", prompt="input", system="system", answers=(_TEXT, _TURNS, _MESSAGES),
        source="https://huggingface.co/datasets/argilla/distilabel-intel-orca-dpo-pairs",
    ),
    Layout(
        name="stack-exchange", prompt="question", chosen="response_j", rejected="response_k",
        source="https://huggingface.co/datasets/lvwerra/stack-exchange-paired",
    ),
    Layout(
        name="hh", prompt="prompt", prompts=(_TEXT, _TURNS, _NONE), answers=(_TURNS,),
        source="https://huggingface.co/datasets/Dahoas/full-hh-rlhf",
    ),
    Layout(
        name="implicit-conversational", prompt=None, answers=(_MESSAGES,), source=_TRL,
    ),
    Layout(
        name="implicit-hh", prompt=None, answers=(_TURNS,),
        source="https://huggingface.co/datasets/Anthropic/hh-rlhf",
    ),
)  # fmt: skip
"""In the order in which they are looked for. One without a prompt's column comes after those."""

UNPAIRED, PROMPTS = "unpaired", "prompts"
"""Names of the layouts of other rows than pairs: TRL's unpaired preferences and prompt-only."""
_UNPAIRED = frozenset(("prompt", *JUDGED))
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def column_names(columns: Mapping[str, str]) -> frozenset[str]:
    """All columns that some layout or these ``columns`` may ask for, in small letters."""
    known = {
        name
        for layout in LAYOUTS
        for name in (*layout.columns().values(), layout.more, layout.system)
        if name is not None
    }
    mapped = {name for column in columns.values() for name in (column, _head(column))}
    return frozenset(name.lower() for name in known | mapped | _UNPAIRED)


def _kind_of(value: object) -> str:
    if value is None:
        return _NONE
    if isinstance(value, str):
        return _TURNS if turns(value) else _TEXT
    if isinstance(value, list):
        return _MESSAGES
    return _MESSAGE if isinstance(value, dict) else type(value).__name__


@dataclass(kw_only=True, slots=True)
class Layouts:
    """The layouts of one file's rows. ``columns``: what the user called the fields.

    ``names``: layouts found so far, in the order in which they came.
    """

    columns: Mapping[str, str]
    names: list[str] = field(default_factory=list)
    _known: dict[tuple[str, ...], list[tuple[Layout, dict[str, str]]]] = field(default_factory=dict)

    def fields(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``prompt chosen rejected``, and ``more`` and ``system`` where the row has them.

        ``prompt`` is left out of rows without one, whose answers begin with it. A row that is no
        pair has ``prompt completion label``, or ``prompt`` alone. Raises `InputError` for a row
        without a layout.
        """
        if self.columns:
            row = self._mapped(row, where)
        other = _no_pair(row)
        if other is not None:
            self._note(UNPAIRED if "label" in other else PROMPTS)
            return other
        fitting = self._fitting(row, where)
        layout, columns = next((one for one in fitting if _holds(*one, row)), fitting[0])
        self._note(layout.name)
        return {name: row[column] for name, column in columns.items()}

    def _note(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)

    def _mapped(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The row with the named columns under their fields' names, and the fields' own."""
        own = {name.lower(): value for name, value in row.items()} | dict(row)
        mapped = {name: own[name] for name in ("prompt", *self._answers()) if name in own}
        for name, column in self.columns.items():
            mapped[name] = _at(row, column, where)
        return mapped

    def _answers(self) -> tuple[str, ...]:
        """The fields besides a prompt that a row may have beside those that were named."""
        named = [kind for kind in (PAIR, JUDGED) if not self.columns.keys().isdisjoint(kind)]
        return named[0] if named else (*PAIR, *JUDGED)

    def _fitting(self, row: Mapping[str, Any], where: str) -> list[tuple[Layout, dict[str, str]]]:
        """Layouts whose columns the row has, each with field -> column as the row spells it."""
        key = tuple(row)
        if key not in self._known:
            spelt = {name.lower(): name for name in row} | {name: name for name in row}
            found = []
            for layout in LAYOUTS:
                wanted = layout.columns() | layout.optional(spelt)
                if layout.prompt is None and "prompt" in spelt:
                    wanted = {"prompt": "prompt", **wanted}
                if all(column in spelt for column in wanted.values()):
                    found.append((layout, {name: spelt[at] for name, at in wanted.items()}))
            if not found:
                raise self._refusal(row, where)
            self._known[key] = found
        return self._known[key]

    def _refusal(self, row: Mapping[str, Any], where: str) -> InputError:
        """A field that other rows have, or columns that nobody knows."""
        names = {name.lower() for name in row}
        wanted = ("prompt", *JUDGED) if self._answers() == JUDGED else PAIR
        lacking = [name for name in wanted if name not in names]
        missing = f"field {lacking[0]!r} is missing; " if len(lacking) == 1 else ""
        fields = ",".join(f"{name}=NAME" for name in dict.fromkeys(("prompt", *wanted)))
        return InputError(
            f"{where}: {missing}no known layout in the columns {_said(row)}; name them with "
            f"--columns {fields}"
        )


def _no_pair(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields of an unpaired row, whatever else it has, or of one with a prompt and nothing else."""
    own = {name.lower(): value for name, value in row.items()}
    if own.keys() == {"prompt"}:
        return own
    if own.keys() >= _UNPAIRED and not {"chosen", "rejected"} <= own.keys():
        return {name: own[name] for name in _UNPAIRED}
    return None


def _holds(layout: Layout, columns: Mapping[str, str], row: Mapping[str, Any]) -> bool:
    """Whether the row's values are of the layout's kinds; a null answer is of any."""
    prompt = row[columns["prompt"]] if "prompt" in columns else None
    answers = [row[columns[name]] for name in ("chosen", "rejected")]
    given = [_kind_of(answer) for answer in answers if answer is not None]
    implicit = layout.prompt is None
    return (implicit or _kind_of(prompt) in layout.prompts) and all(
        kind in layout.answers for kind in given[:1]
    )


def _head(column: str) -> str:
    return re.split(r"[.\[]", column, maxsplit=1)[0]


def _at(row: Mapping[str, Any], column: str, where: str) -> Any:
    """The column of that name, or what lies at a path: ``answers[0].text``."""
    if column in row:
        return row[column]
    head = _head(column)
    steps = _STEP.findall(column[len(head) :])
    whole = head + "".join(f".{name}" if name else f"[{index}]" for name, index in steps)
    try:
        if whole != column:
            raise KeyError(column)
        value = row[head]
        for name, index in steps:
            value = value[name] if name else value[int(index)]
    except (KeyError, IndexError, TypeError):
        raise InputError(
            f"{where}: --columns names {shortened(column, 40)!r}, which is not there; the columns "
            f"are {_said(row)}"
        ) from None
    return value


def _said(names: Iterable[str]) -> str:
    """The columns of a file, as many as a sentence has room for."""
    shown = [shortened(plain(name), _WIDTH) for name in names]
    ends = accumulate(len(name) + 2 for name in shown)
    return ", ".join(listed(shown, sum(end <= _MOST for end in ends))) or "none"
