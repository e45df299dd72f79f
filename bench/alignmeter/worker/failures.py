"""What an exception in the worker is called in the record: status, reason code and text."""

__all__ = ["classified"]

import traceback

from alignmeter.errors import CellError, InputError
from alignmeter.records.reasons import Code
from alignmeter.text import shortened, without_frames
from alignmeter.worker.out_of_memory import is_out_of_memory

_LONGEST = 2000
_NOT_SAMPLED = "probability tensor contains either"
"""torch.multinomial of NaN or infinity, on a CPU: ATen/native/Distributions.cpp."""


def classified(error: BaseException) -> tuple[str, str, str]:
    """Status, reason code and text. A user's input is told by its sentence, and by no place in the
    code.
    """
    memory = is_out_of_memory(error)  # a user's own function may fail for that too
    if isinstance(error, CellError) and not memory:
        return error.status, error.code, error.text
    if isinstance(error, InputError):
        return "crashed", Code.INPUT_UNUSABLE.value, shortened(str(error), _LONGEST)
    if _NOT_SAMPLED in str(error):
        text = "a rollout could not be sampled: the policy's probabilities are not finite"
        return "crashed", Code.NON_FINITE_LOSS.value, text
    text = shortened(f"{type(error).__name__}: {without_frames(str(error))}".strip(), _LONGEST)
    if memory:
        return "oom", Code.OUT_OF_MEMORY.value, text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.name}, line {frame.lineno} of {frame.filename}"
    return "crashed", Code.EXCEPTION.value, f"{text} ({place})"
