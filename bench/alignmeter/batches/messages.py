"""Messages of a conversation: read in any spelling, compared by role and content, rendered."""

__all__ = [
    "ASSISTANT",
    "USER",
    "Message",
    "alike",
    "answer_text",
    "prompt_text",
    "read_messages",
    "shared_messages",
    "turns",
    "written_messages",
]

import json
import re
from collections.abc import Sequence
from typing import Any

from alignmeter.errors import InputError

Message = tuple[str, str]
"""Role and content. Ids, names and whatever else a message has make no difference."""
ASSISTANT, USER = "assistant", "user"
_ROLES = {
    **{name: name for name in ("system", USER, ASSISTANT, "tool")},
    **dict.fromkeys(("human", "prompter"), USER),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "chatbot", "ai", "model"), ASSISTANT),
}
"""Names of those who speak, of ShareGPT, OpenAssistant and vendors' templates, in small letters."""
_TURN = re.compile(r"(?:\A\s*|\r?\n\r?\n)(Human|Assistant):")
_SPEAKERS = {"Human": USER, "Assistant": ASSISTANT}
_WRITTEN = re.compile(r"\s*(?:array\(\s*)?\[?\s*\{\s*['\"]")
_WRITTEN_ROLE = re.compile(
    rf"(['\"])(?:role|from)\1\s*:\s*(['\"])(?:{'|'.join(_ROLES)})\2", re.IGNORECASE
)


def read_messages(value: Sequence[object], where: str) -> list[Message]:
    """Objects with role and content, or with ``from`` and ``value``, as messages.

    Content of several parts is their texts on end. Without content, the calls of tools are the
    content, as JSON; without those it is empty. Raises `InputError` naming ``where`` and message.
    """
    return [_message(message, f"{where}, message {i}") for i, message in enumerate(value, 1)]


def _message(message: object, where: str) -> Message:
    if not isinstance(message, dict):
        raise InputError(f"{where} must be an object with role and content")
    sharegpt = message.get("role") is None and "from" in message
    role = message.get("from" if sharegpt else "role")
    key = "value" if sharegpt else "content"
    calls = message.get("tool_calls")
    if not isinstance(role, str) or (key not in message and not calls):
        raise InputError(f"{where} must have role and content as text")
    content = _content(message.get(key), where)
    if not content and calls:
        content = json.dumps(_without_nulls(calls), ensure_ascii=False, sort_keys=True, default=str)
    return _ROLES.get(role.strip().lower(), role), content


def _content(value: object, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise InputError(f"{where} must have role and content as text")
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type") if isinstance(part, dict) else "text"
        if kind not in ("text", None) or not isinstance(text, str):
            raise InputError(f"{where} has a part of type {kind!r}; only text can be trained on")
        texts.append(text)
    return "".join(texts)


def _without_nulls(value: Any) -> Any:
    """Parquet fills up what other rows have with nulls."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def written_messages(text: str) -> bool:
    """Whether the text is a message or a list of them, written as JSON or as Python prints it.

    A table of text (CSV) can hold conversations in no other way.
    """
    if _WRITTEN.match(text) is None:
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # Python's quotes, or an array of NumPy
        return _WRITTEN_ROLE.search(text) is not None
    messages = value if isinstance(value, list) else [value]
    return all(isinstance(message, dict) and _is_message(message) for message in messages)


def _is_message(message: dict[str, object]) -> bool:
    role = message.get("role", message.get("from"))
    known_role = isinstance(role, str) and role.strip().lower() in _ROLES
    return known_role and bool({"content", "value", "tool_calls"} & message.keys())


def alike(one: Message, other: Message) -> bool:
    """Whether two messages say the same: white space around it is no difference."""
    return one[0] == other[0] and one[1].strip() == other[1].strip()


def shared_messages(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """How many messages both begin with. The last of either is an answer: compared exactly."""
    shorter = min(len(chosen), len(rejected))
    for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)):
        if a != b and (i == shorter - 1 or not alike(a, b)):
            return i
    return shorter


def prompt_text(messages: Sequence[Message]) -> str:
    """``role: content`` per line, and the assistant's turn begun."""
    return _lines(messages) + f"\n{ASSISTANT}: "


def answer_text(messages: Sequence[Message]) -> str:
    """The content of the assistant's one message; several as ``role: content`` per line."""
    one_answer = len(messages) == 1 and messages[0][0] == ASSISTANT
    return messages[0][1] if one_answer else _lines(messages)


def _lines(messages: Sequence[Message]) -> str:
    return "\n".join(f"{role}: {content}" for role, content in messages)


def turns(text: str) -> list[tuple[Message, int, int]]:
    r"""The turns of HH-RLHF's text, each with where its marker and its content begin.

    They begin with ``\n\nHuman:`` and ``\n\nAssistant:`` (https://github.com/anthropics/hh-rlhf),
    the first also without the empty lines. A text that does not begin with one has none.
    """
    if _TURN.match(text) is None:
        return []
    found = list(_TURN.finditer(text))
    ends = [mark.start() for mark in found[1:]] + [len(text)]
    return [
        ((_SPEAKERS[mark[1]], text[mark.end() : end]), mark.start(), mark.end())
        for mark, end in zip(found, ends, strict=True)
    ]
