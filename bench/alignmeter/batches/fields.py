"""Fields of a row: text or messages, checked."""

__all__ = ["check_answer", "check_lists", "read_field", "read_prompt"]

from collections.abc import Mapping
from typing import Any

from alignmeter.batches.messages import Message, read_messages, written_messages
from alignmeter.batches.splitting import NoPairError
from alignmeter.errors import InputError


def read_field(value: object, where: str) -> str | list[Message] | None:
    """Text, messages, or ``None``; one message is a list of it.

    Raises `InputError`, with ``where`` in front, for another type, a message that is none, and text
    that is no Unicode.
    """
    if value is None:
        return None
    if isinstance(value, str):
        _check_unicode(value, where)
        return value
    if not isinstance(value, list | dict):
        raise InputError(f"{where} must be text or a list of messages, got {type(value).__name__}")
    messages = read_messages(value if isinstance(value, list) else [value], where)
    for role, content in messages:
        _check_unicode(role, where)
        _check_unicode(content, where)
    return messages


def _check_unicode(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} is not valid Unicode: {error.reason}") from error


def check_lists(fields: Mapping[str, str | list[Message] | None], where: str) -> None:
    """Raises `InputError` for messages that are written as text."""
    for name, value in fields.items():
        if isinstance(value, str) and written_messages(value):
            raise InputError(
                f"{where}: field {name!r} has messages written as text; give them as a list, which "
                "JSON Lines and Parquet can hold"
            )


def check_answer(answer: str | list[Message] | None, name: str) -> None:
    """Raises `NoPairError` for an answer that says nothing. ``name``: of its field."""
    if answer is None:
        raise NoPairError("answer_null", name)
    text = answer if isinstance(answer, str) else "".join(content for _, content in answer)
    if not text.strip():
        raise NoPairError("answer_blank" if text else "answer_empty", name)


def read_prompt(fields: Mapping[str, Any], where: str) -> str | list[Message] | None:
    """The row's prompt; ``None``: the answers begin with it, or it is blank. With a system's text,
    a conversation of the two. Raises `InputError` as `read_field` does.
    """
    prompt = read_field(fields.get("prompt"), f"{where}: field 'prompt'")
    more, system = (_side_text(fields, name, where) for name in ("more", "system"))
    if isinstance(prompt, str) and more:
        prompt = f"{prompt}\n{more}"
    said = prompt if isinstance(prompt, str) else "".join(content for _, content in prompt or [])
    if not said.strip():
        return None
    if "system" in fields and prompt is not None:
        prompt = [("user", prompt)] if isinstance(prompt, str) else prompt
        prompt = [("system", system), *prompt] if system else prompt
    return prompt


def _side_text(fields: Mapping[str, Any], name: str, where: str) -> str:
    """The text of a column beside the prompt, or nothing."""
    value = fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: the column beside the prompt must be text, not {value!r:.40}")
    _check_unicode(value, where)
    return value
