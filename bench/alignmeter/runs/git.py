"""git as a process, told nothing of the repository that its caller is in."""

__all__ = ["run_git", "without_git"]

import os
import subprocess
from pathlib import Path

from alignmeter.errors import InputError
from alignmeter.text import plain, shortened

_SAID = 160


def run_git(folder: Path, *arguments: str, stdin: str = "", may_fail: bool = False) -> str:
    """What git prints in ``folder``; of what may fail, all that it says.

    Raises `InputError` if git is not there, or if it fails and may not.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            # The user's hooks are for the user's own checkouts.
            ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments],  # noqa: S607
            capture_output=True, encoding="utf-8", errors="replace", check=False, input=stdin,
            env={**without_git(), "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"git: cannot be started: {error.strerror}; install it") from error
    if done.returncode and not may_fail:
        said = shortened(plain(" ".join(done.stderr.split())), _SAID)
        raise InputError(f"{folder}: git {arguments[0]} failed: {said}")
    return done.stdout + done.stderr if may_fail else done.stdout


def without_git() -> dict[str, str]:
    """This process's environment. A git hook sets GIT_DIR for its own repository, which wins over
    -C.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
