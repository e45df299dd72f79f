"""A worktree of git for this process alone, beside which the user's checkout stays as it is."""

__all__ = ["Worktree"]

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from alignmeter.errors import InputError
from alignmeter.text import plain, shortened

_SAID = 160
_SOURCES = ("bench", "kernels", "reports")
"""Where this project has its packages; others have theirs in ``src`` or at the top."""


class Worktree:
    """``path``: a detached checkout of ``repository``, removed in the end.

    What a killed process left there is removed first. Raises `InputError` for a repository that is
    none.
    """

    def __init__(self, repository: Path, path: Path) -> None:
        self.repository, self.path = repository, path.absolute()

    def __enter__(self) -> "Worktree":
        self._remove()
        self._git(self.repository, "worktree", "add", "--detach", str(self.path), "HEAD")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    @property
    def is_ours(self) -> bool:
        """Whether it is this project's own source."""
        return (self.path / "bench" / "alignmeter").is_dir()

    def environment(self) -> Mapping[str, str]:
        """Python finds the packages of the worktree before any that is installed."""
        names = _SOURCES if self.is_ours else ("src", ".")
        paths = [str(self.path / name) for name in names if (self.path / name).is_dir()]
        kept = _without_git()
        before = kept.get("PYTHONPATH", "")
        return {**kept, "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [before])])}

    def commit(self, revision: str) -> str:
        """Its full name. Raises `InputError` if git knows none."""
        where = self.path if revision == "HEAD" else self.repository
        return self._git(where, "rev-parse", "--verify", f"{revision}^{{commit}}").strip()

    def switch(self, commit: str) -> None:
        """Check it out, without what a build left of another."""
        if self.commit("HEAD") != commit:
            self.git("checkout", "--force", "--detach", commit)
            self.git("clean", "-ffdxq")

    def git(self, *arguments: str, may_fail: bool = False) -> str:
        """What git prints. Raises `InputError` if it fails and may not."""
        return self._git(self.path, *arguments, may_fail=may_fail)

    def _remove(self) -> None:
        with contextlib.suppress(InputError):  # there is none
            self._git(self.repository, "worktree", "remove", "--force", "--force", str(self.path))
        shutil.rmtree(self.path, ignore_errors=True)
        self._git(self.repository, "worktree", "prune")

    def _git(self, folder: Path, *arguments: str, may_fail: bool = False) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                # The user's hooks are for the user's own checkouts.
                ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments],  # noqa: S607
                capture_output=True, encoding="utf-8", errors="replace", check=False,
                env={**_without_git(), "LC_ALL": "C"},
            )  # fmt: skip
        except OSError as error:
            raise InputError(f"git: cannot be started: {error.strerror}; install it") from error
        if done.returncode and not may_fail:
            said = shortened(plain(" ".join(done.stderr.split())), _SAID)
            raise InputError(f"{folder}: git {arguments[0]} failed: {said}")
        return done.stdout + done.stderr if may_fail else done.stdout


def _without_git() -> dict[str, str]:
    """A git hook sets GIT_DIR for its own repository, which wins over -C."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
