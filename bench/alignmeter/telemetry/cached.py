"""Questions that need no answer 20 times a second: the last answer stands for a while."""

__all__ = ["CACHED_S", "CachedAnswers"]

import time
from collections.abc import Callable
from typing import Any

CACHED_S = {
    "clock_mhz": 0.2,
    "throttles": 0.2,
    "memory_process_bytes": 0.2,
    "memory_clock_mhz": 1.0,
    "temperature_c": 1.0,
    "ecc_errors": 1.0,
    "host_memory": 1.0,
}
"""How long an answer stands, in s: about as long as the figure does. At 20 Hz every call finds cold
caches, and a figure that is read in 3 µs in a loop costs 30 µs: with all figures in each sample
NVML's stub took 0.6 to 0.8 % of a core. Power, energy and used memory are read for each sample.
"""
_COSTLY_S, _MOST_SHARE = 1e-3, 0.02


class CachedAnswers:
    """Answers by figure, each kept for a while.

    A question that took more than 1 ms of CPU rests until it takes 2 % of a core at most: AMD SMI's
    list of processes reads the files of them all.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[float, Any]] = {}

    def answer(self, figure: str, question: Callable[[], Any]) -> Any:
        """The standing answer, or a new one."""
        now_s = time.monotonic()
        until_s, answer = self._answers.get(figure, (0.0, None))
        if now_s < until_s:
            return answer
        before_s = time.thread_time()
        answer = question()
        cost_s = time.thread_time() - before_s
        rest_s = CACHED_S.get(figure, 0.0)
        if cost_s > _COSTLY_S:
            rest_s = max(rest_s, cost_s / _MOST_SHARE)
        self._answers[figure] = (now_s + rest_s, answer)
        return answer
