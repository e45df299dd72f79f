"""A prompt and two whole conversations, split by the messages that these share."""

__all__ = ["NoPairError", "Sides", "split_messages", "split_turns"]

from collections.abc import Sequence

from alignmeter.batches.messages import (
    ASSISTANT,
    Message,
    prompt_text,
    shared_messages,
    turns,
)
from alignmeter.errors import AlignmeterError

Conversation = Sequence[Message]
Sides = tuple[str, Conversation, Conversation]
"""The prompt's text, the messages of the chosen answer and those of the rejected one."""


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
        if prompt is None or _without_shared_question(prompt, chosen, rejected):
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
    length = len(prompt)
    if any(shared[i : i + length] == list(prompt) for i in range(len(shared) - length + 1)):
        return shared
    again = _repeated(prompt, shared)
    return [*prompt, *shared[again:]] if again else None


def _repeated(prompt: Conversation, answer: Conversation) -> int:
    """How many of the answer's first messages are the prompt's last ones."""
    most = min(len(prompt), len(answer))
    return next((n for n in range(most, 0, -1) if prompt[-n:] == answer[:n]), 0)


def _without_shared_question(
    prompt: Conversation | str, chosen: Conversation, rejected: Conversation
) -> bool:
    """Whether both are whole conversations, but not of one question."""
    return isinstance(prompt, str) and all(
        len(side) > 1 and side[0][0] != ASSISTANT for side in (chosen, rejected)
    )


def _without_prompt(answer: Conversation, prompt: Conversation | str) -> Conversation:
    """The answer alone, where only this side repeats the prompt."""
    if not isinstance(prompt, str):
        return answer[_repeated(prompt, answer) :]
    for i, (role, content) in enumerate(answer):
        if role == ASSISTANT:
            break
        if content.strip() == prompt.strip():
            return answer[i + 1 :]
    return answer


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
