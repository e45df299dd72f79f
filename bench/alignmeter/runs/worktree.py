"""A worktree of git for this process alone, beside which the user's checkout stays as it is."""

__all__ = ["Worktree"]

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from alignmeter.errors import InputError
from alignmeter.runs.git import run_git, without_git

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
        run_git(self.repository, "worktree", "add", "--detach", str(self.path), "HEAD")
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
        kept = without_git()
        before = kept.get("PYTHONPATH", "")
        return {**kept, "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [before])])}

    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD").strip()

    def switch(self, commit: str) -> None:
        """Check it out, without what a build left of another."""
        if self.head() != commit:
            self.git("checkout", "--force", "--detach", commit)
            self.git("clean", "-ffdxq")

    def git(self, *arguments: str, may_fail: bool = False) -> str:
        """What git prints. Raises `InputError` if it fails and may not."""
        return run_git(self.path, *arguments, may_fail=may_fail)

    def _remove(self) -> None:
        with contextlib.suppress(InputError):  # there is none
            run_git(self.repository, "worktree", "remove", "--force", "--force", str(self.path))
        shutil.rmtree(self.path, ignore_errors=True)
        run_git(self.repository, "worktree", "prune")
