"""``python tests/trust/ranks_start.py``: what a second rank adds to the start of a worker, here.

Workers come from a forkserver that has the imports, as all but the first of a round do; a crew has
started when its ranks have met. Medians of ``--rounds`` starts of each, in turns, are printed.
Issue 22 asks for 0.5 s at most for two ranks, on a machine that does nothing else.
"""

__all__ = ["main", "starts"]

import argparse
import statistics
import sys
import time

from alignmeter.session.launcher import Launcher

LIMIT_S = 0.5


def starts(rounds: int, size: int) -> tuple[list[float], list[float]]:
    """Seconds of the starts of one worker, and of crews of ``size``."""
    one, several = [], []
    with Launcher() as launcher:
        launcher.begin_round(0)
        launcher.start().close()  # waits for the imports
        launcher.crew(size, "cpu").close()
        for _ in range(rounds):
            start = time.perf_counter()
            worker = launcher.start()
            one.append(time.perf_counter() - start)
            worker.close()
            crew = launcher.crew(size, "cpu")
            several.append(crew.start_s)
            crew.close()
    return one, several


def main(arguments: list[str]) -> int:
    """Print the medians; exit status 1 where more is added than `LIMIT_S`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ranks", type=int, default=2)
    given = parser.parse_args(arguments)
    one, several = (statistics.median(found) for found in starts(given.rounds, given.ranks))
    sys.stdout.write(
        f"one worker {one:.3f} s, {given.ranks} ranks {several:.3f} s: {several - one:.3f} s more\n"
    )
    return int(several - one > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
