"""A prompt and two whole conversations, split by the messages that these share."""

__all__ = [
    "NoPairError",
    "Sides",
    "in_turns",
    "split_messages",
    "split_texts",
    "split_turns",
]

from collections.abc import Sequence
from itertools import pairwise

from alignmeter.batches.messages import (
    ASSISTANT,
    USER,
    Message,
    alike,
    prompt_text,
    shared_messages,
    turns,
)
from alignmeter.errors import AlignmeterError

Conversation = Sequence[Message]
Sides = tuple[str, Conversation, Conversation]
"""The prompt's text, the messages of the chosen answer and those of the rejected one."""
_BY_CHANCE = 16
"""Characters: a shorter prompt (``Hello``) may begin one answer without being repeated by it."""


class NoPairError(AlignmeterError):
    """A row that no method can compare. ``kind``: of `preferences.KINDS`; ``field``: at fault."""

    def __init__(self, kind: str, field: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.field = field


def split_messages(
    prompt: Conversation | str | None, chosen: Conversation, rejected: Conversation
) -> Sides:
    """Prompt and answers, without the prompt's messages at the head of an answer.

    Answers that both begin with the prompt, or stand without one, are whole conversations: what
    they share is the prompt. Raises `NoPairError` if they share nothing, are equal, or if one goes
    on where the other ends.
    """
    shared = list(chosen[: shared_messages(chosen, rejected)])
    if chosen == rejected:
        whole = prompt is None or len(chosen) > 1
        raise NoPairError("conversations_equal" if whole else "answers_equal")
    whole_prompt = _whole_prompt(prompt, shared)
    if whole_prompt is None:
        if prompt is None or _of_two_questions(prompt, chosen, rejected):
            raise NoPairError("prompt_not_shared")
        chosen, rejected = (_without_prompt(side, prompt) for side in (chosen, rejected))
        text = prompt if isinstance(prompt, str) else prompt_text(prompt)
    else:
        chosen, rejected = chosen[len(shared) :], rejected[len(shared) :]
        text = prompt_text(whole_prompt)
    common = shared_messages(chosen, rejected)
    if common == min(len(chosen), len(rejected)):
        raise NoPairError("answers_equal" if chosen == rejected else "answer_continues")
    return text, chosen, rejected


def _whole_prompt(prompt: Conversation | str | None, shared: list[Message]) -> list[Message] | None:
    """All messages of the prompt where ``shared`` repeats it; ``None`` where it does not."""
    if prompt is None:
        return shared or None
    if isinstance(prompt, str):  # the whole conversation says more than its last question
        return shared if shared and shared[0][0] != ASSISTANT else None
    if _place_of(prompt, shared) is not None:
        return shared
    again = _repeated(prompt, shared)
    if again:
        return [*prompt, *shared[again:]]
    whole = shared and shared[0][0] != ASSISTANT and _asks_again(prompt, shared)
    return shared if whole else None


def _place_of(prompt: Conversation, answer: Conversation) -> int | None:
    """Where the answer has all of the prompt's messages, one after the other."""
    places = range(len(answer) - len(prompt) + 1)
    return next((i for i in places if all(map(alike, prompt, answer[i:]))), None)


def _repeated(prompt: Conversation, answer: Conversation) -> int:
    """How many of the answer's first messages are the prompt's last ones."""
    most = min(len(prompt), len(answer))
    return next((n for n in range(most, 0, -1) if all(map(alike, prompt[-n:], answer))), 0)


def _asks_again(prompt: Conversation, answer: Conversation) -> bool:
    """Whether the answer has what the prompt's user says, whoever says it there."""
    asked = {content.strip() for role, content in prompt if role == USER}
    return any(content.strip() in asked for _, content in answer)


def _of_two_questions(
    prompt: Conversation | str, chosen: Conversation, rejected: Conversation
) -> bool:
    """Whether both are whole conversations, but not of one question: systems may differ too."""
    sides = (chosen, rejected)
    if not all(len(side) > 1 and side[0][0] != ASSISTANT for side in sides):
        return False
    return isinstance(prompt, str) or any(_asks_again(prompt, side) for side in sides)


def _without_prompt(answer: Conversation, prompt: Conversation | str) -> Conversation:
    """The answer alone, where only this side repeats the prompt. Raises `NoPairError` where it has
    a part of it.
    """
    if not isinstance(prompt, str):
        place = _place_of(prompt, answer)
        rest = answer[_repeated(prompt, answer) if place is None else place + len(prompt) :]
        if rest and rest[0][0] != ASSISTANT and _asks_again(prompt, rest):
            raise NoPairError("prompt_not_shared")
        return rest
    for i, (role, content) in enumerate(answer):
        if role == ASSISTANT:
            break
        if content.strip() == prompt.strip():
            return answer[i + 1 :]
    return answer


def split_texts(
    prompt: Conversation | str, chosen: str, rejected: str
) -> tuple[str, str, str, bool]:
    """Prompt and answers, without the prompt at the head of an answer, and whether both had it.

    In a template (``### Question: ...``) it need not be the first of what both begin with. A text
    in turns is a whole conversation also where only one side is. Raises `NoPairError` where only
    one of two plain answers begins with the prompt: that may be a quotation or a mistake.
    """
    written = [prompt] if isinstance(prompt, str) else [prompt_text(prompt), prompt[-1][1]]
    heads = [text.strip() for text in written if text.strip()]
    sides = (chosen, rejected)
    end = next((end for head in heads if (end := _end_in_both(head, *sides))), 0)
    rests = [side[end:] if end else _after(heads, side) for side in sides]
    whole = [in_turns(side) for side in sides]
    if any(rest is None and turned for rest, turned in zip(rests, whole, strict=True)):
        raise NoPairError("prompt_not_shared")
    if rests.count(None) == 1 and not any(whole):
        if max(map(len, heads)) >= _BY_CHANCE:
            raise NoPairError("prompt_in_one_answer")
        rests = [None, None]
    answers = [side if rest is None else rest for side, rest in zip(sides, rests, strict=True)]
    return written[0], answers[0], answers[1], None not in rests


def _end_in_both(head: str, chosen: str, rejected: str) -> int:
    """Where the prompt ends in what both answers begin with; 0 where they do not hold it."""
    if len(head) < _BY_CHANCE or (place := chosen.find(head)) < 0:
        return 0
    end = place + len(head)
    return end if rejected.startswith(chosen[:end]) else 0


def in_turns(text: str) -> bool:
    """Whether a text is a whole conversation: turns of which the user's is the first."""
    return any(role == USER for (role, _), _, _ in turns(text)[:1])


def _after(heads: Sequence[str], text: str) -> str | None:
    """What follows the prompt where the text begins with it, in one of these ways to write it."""
    begun = text.lstrip()
    for head in heads:
        if begun.startswith(head):
            return begun[len(head) :]
    said = turns(text)
    for (message, _, _), (_, _, content) in pairwise(said):
        if message[1].strip() in heads:
            return text[content:]
    return None


def split_turns(chosen: str, rejected: str) -> tuple[str, str, str]:
    r"""Prompt, chosen and rejected answer of two texts in turns; the texts stay as they are.

    The prompt ends with the marker of the first turn that differs, if that is the assistant's:
    ``\n\nAssistant:``. Raises `NoPairError` as `split_messages` does.
    """
    sides = turns(chosen), turns(rejected)
    messages = [[message for message, _, _ in side] for side in sides]
    shared = shared_messages(*messages)
    if messages[0] == messages[1]:
        raise NoPairError("conversations_equal")
    if shared == 0:
        raise NoPairError("prompt_not_shared")
    if shared == min(map(len, messages)):
        raise NoPairError("answer_continues")
    answered = all(side[shared][0][0] == ASSISTANT for side in sides)
    cuts = [content if answered else marker for _, marker, content in (s[shared] for s in sides)]
    return chosen[: cuts[0]], chosen[cuts[0] :], rejected[cuts[1] :]
