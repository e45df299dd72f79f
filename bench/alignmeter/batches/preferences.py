"""Preference rows as pairs: the prompt apart from its two answers, what is no pair counted."""

__all__ = ["KINDS", "PAIRS", "Pair", "PairReader", "Preferences", "read_preferences"]

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alignmeter.batches.fields import check_answer, check_lists, read_field, read_prompt
from alignmeter.batches.files import read_rows
from alignmeter.batches.layouts import PROMPTS, UNPAIRED, Layouts, column_names
from alignmeter.batches.messages import (
    Message,
    alike,
    answer_text,
    prompt_text,
    turns,
    written_messages,
)
from alignmeter.batches.splitting import (
    NoPairError,
    in_turns,
    split_messages,
    split_texts,
    split_turns,
)
from alignmeter.cells.columns import AUTO, parse_columns
from alignmeter.errors import InputError
from alignmeter.text import shown_path

KINDS = {
    "prompt_empty": "the prompt is empty",
    "answer_null": "an answer is null",
    "answer_empty": "an answer is empty",
    "answer_blank": "an answer is blank",
    "answers_equal": "chosen and rejected are equal",
    "conversations_equal": "chosen and rejected are the same conversation",
    "answer_continues": "one answer only goes on where the other ends",
    "prompt_in_one_answer": "only one of the answers begins with the prompt",
    "prompt_not_shared": "the answers share no message that could be the prompt",
}
"""Why a row is no pair, by the name under which records count it, in words."""


PAIRS = "pairs"
"""What a file of two answers to each prompt holds."""
_SAID = {
    PAIRS: "pairs of chosen and rejected",
    UNPAIRED: "completions with a label",
    PROMPTS: "prompts alone",
}
_LABELS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One preference: two answers to one prompt.

    Of an unpaired row that its label calls desirable there is only ``chosen``, of another one only
    ``rejected``, and of a prompt without answers neither.
    """

    prompt: str
    chosen: str | None
    rejected: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """What a file says, apart from its pairs. ``layout``: of `layouts.LAYOUTS`, several by comma.

    ``kind``: what all of its rows are, `PAIRS`, ``unpaired`` or ``prompts``.
    ``bad``: kind of `KINDS` -> rows that are no pair; ``first_bad``: kind -> where the first is, in
    the order of these places. ``repeated``: rows whose two answers, as text, began with the prompt,
    which was split from them. ``digest``: of the files' bytes.
    """

    rows: int
    layout: str
    bad: Mapping[str, int]
    first_bad: Mapping[str, str]
    repeated: int
    digest: str
    kind: str = PAIRS

    @property
    def pairs(self) -> int:
        """Rows that are pairs."""
        return self.rows - sum(self.bad.values())

    @property
    def commonest(self) -> str | None:
        """The kind of most bad rows, if there are any."""
        return max(self.bad, key=self.bad.__getitem__) if self.bad else None


@dataclass(kw_only=True)
class PairReader:
    """The pairs of a file in order; when they have been iterated over, what was found.

    ``columns``: as on the axis of that name. Iterating raises `InputError` for what cannot be read,
    naming file, line or row, and field. A row that is no pair is counted and left out.
    """

    data: str
    columns: str = AUTO
    _rows: int = 0
    _repeated: int = 0
    _bad: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)
    _digest: str = ""
    _kind: str = ""

    def __post_init__(self) -> None:
        self._layouts = Layouts(columns=parse_columns(self.columns, "--columns"))

    def __iter__(self) -> Iterator[Pair]:
        self._digest, rows = read_rows(self.data, column_names(self._layouts.columns))
        for row, where in rows:
            self._rows += 1
            try:
                fields = self._layouts.fields(row, where)
                self._check_kind(fields, where)
                pair, repeated = _read_row(fields, where)
            except NoPairError as error:
                at = f"{where}, field {error.field!r}" if error.field else where
                self._bad[error.kind] += 1
                self._first.setdefault(error.kind, at)
            else:
                self._repeated += repeated
                yield pair
        if not self._rows:
            raise InputError(f"{shown_path(self.data)}: no preference rows; give at least one pair")

    def _check_kind(self, fields: Mapping[str, Any], where: str) -> None:
        """Raises `InputError` for a row of another kind than those before."""
        kind = PAIRS if "chosen" in fields else UNPAIRED if "label" in fields else PROMPTS
        self._kind = self._kind or kind
        if kind != self._kind:
            raise InputError(
                f"{where}: {_SAID[kind]}, but the rows before it are {_SAID[self._kind]}; keep "
                "rows of one kind in a file"
            )

    def found(self) -> Preferences:
        """What the file says, after the last pair."""
        return Preferences(
            rows=self._rows,
            layout=", ".join(self._layouts.names),
            bad=dict(self._bad),
            first_bad=self._first,
            repeated=self._repeated,
            digest=self._digest,
            kind=self._kind or PAIRS,
        )


def read_preferences(data: str, columns: str = AUTO) -> tuple[list[Pair], Preferences]:
    """All pairs of a file, in order, and what else it says. Raises as `PairReader` does."""
    reader = PairReader(data=data, columns=columns)
    return list(reader), reader.found()


def _read_row(fields: Mapping[str, Any], where: str) -> tuple[Pair, bool]:
    """The row as a pair, or as what it has of one; and whether its prompt was split from both
    texts. Raises as `_pair` does.
    """
    if "chosen" in fields:
        return _pair(fields, where)
    prompt = read_prompt(fields, where)
    check_lists({"prompt": prompt}, where)
    text = prompt if isinstance(prompt, str) or prompt is None else prompt_text(prompt)
    if text is None:
        raise NoPairError("prompt_empty", "prompt")
    if "label" not in fields:
        return Pair(prompt=text, chosen=None, rejected=None), False
    answer = read_field(fields["completion"], f"{where}: field 'completion'")
    check_answer(answer, "completion")
    check_lists({"completion": answer}, where)
    said = answer if isinstance(answer, str) else answer_text(answer or [])
    desirable = _label(fields["label"], where)
    chosen, rejected = (said, None) if desirable else (None, said)
    return Pair(prompt=text, chosen=chosen, rejected=rejected), False


def _label(value: object, where: str) -> bool:
    """Of CSV too, where everything is text."""
    found = _LABELS.get(str(value).lower())
    if found is None:
        raise InputError(f"{where}: field 'label' must be true or false, got {value!r:.40}")
    return found


def _pair(fields: Mapping[str, Any], where: str) -> tuple[Pair, bool]:
    """The row as a pair, and whether the prompt was split from both texts.

    Raises `NoPairError`, and `InputError` for a wrong type.
    """
    sides: dict[str, Any] = {}
    for name in ("chosen", "rejected"):
        sides[name] = read_field(fields[name], f"{where}: field {name!r}")
        check_answer(sides[name], name)
    prompt = read_prompt(fields, where)
    if "prompt" in fields:
        check_lists(sides | {"prompt": prompt}, where)
    chosen, rejected = sides["chosen"], sides["rejected"]
    if prompt is None and "prompt" in fields and not _whole(chosen, rejected):
        raise NoPairError("prompt_empty", "prompt")
    if isinstance(chosen, str) and isinstance(rejected, str):
        pair, repeated = _of_texts(prompt, chosen, rejected, where)
    else:
        pair, repeated = _of_messages(prompt, chosen, rejected, where)
    for name in ("chosen", "rejected"):
        check_answer(getattr(pair, name), name)
    if pair.chosen == pair.rejected:
        raise NoPairError("answers_equal")
    return pair, repeated


def _whole(chosen: str | list[Message], rejected: str | list[Message]) -> bool:
    """Whether the answers are conversations, which need no prompt beside them."""
    if isinstance(chosen, str) or isinstance(rejected, str):
        return all(isinstance(side, str) and bool(turns(side)) for side in (chosen, rejected))
    return alike(chosen[0], rejected[0])


def _of_texts(
    prompt: str | list[Message] | None, chosen: str, rejected: str, where: str
) -> tuple[Pair, bool]:
    sides = (chosen, rejected)
    if all(map(turns if prompt is None else in_turns, sides)):
        if chosen == rejected:
            raise NoPairError("conversations_equal")
        text, chosen, rejected = split_turns(chosen, rejected)
        return Pair(prompt=text, chosen=chosen, rejected=rejected), False
    if prompt is None:
        said = "are JSON as text" if written_messages(chosen) else "have no turns"
        raise InputError(
            f"{where}: field 'prompt' is missing and the answers {said}; give a prompt, answers as "
            r"lists of messages, or turns that begin with '\n\nHuman:' and '\n\nAssistant:'"
        )
    text, chosen, rejected, repeated = split_texts(prompt, chosen, rejected)
    return Pair(prompt=text, chosen=chosen, rejected=rejected), repeated


def _of_messages(
    prompt: str | list[Message] | None,
    chosen: str | list[Message],
    rejected: str | list[Message],
    where: str,
) -> tuple[Pair, bool]:
    sides = []
    for name, other, side in (("chosen", "rejected", chosen), ("rejected", "chosen", rejected)):
        if isinstance(side, str) and prompt is None:
            raise InputError(f"{where}: field {name!r} must be a list of messages like {other!r}")
        sides.append([("assistant", side)] if isinstance(side, str) else side)
    text, *answers = split_messages(prompt, *sides)
    chosen, rejected = map(answer_text, answers)
    repeated = False
    if prompt is not None and all(len(answer) == 1 for answer in answers):
        _, chosen, rejected, repeated = split_texts(prompt, chosen, rejected)
    return Pair(prompt=text, chosen=chosen, rejected=rejected), repeated
