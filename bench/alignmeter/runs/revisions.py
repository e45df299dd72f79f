"""What a bisection goes through: the commits of a repository, or environments in their order."""

__all__ = ["PLACE", "Commits", "Environments", "Revisions"]

from pathlib import Path
from typing import Protocol

from alignmeter.errors import InputError, known
from alignmeter.runs.git import run_git

PLACE = "{}"
"""What stands for an environment in a command, as a file does in those of find and xargs."""
_SHORT = 12
_LEAST = 2


class Revisions(Protocol):
    """Commits of ``repository``, and what people call them."""

    repository: Path

    def commit(self, name: str) -> str:
        """The full name of what the user named. Raises `InputError` if there is none."""

    def check_order(self, good: str, bad: str) -> None:
        """Raises `InputError` where ``good`` is known not to come before ``bad``, both commits."""

    def name(self, commit: str) -> str:
        """What the user calls it."""

    def shown(self, commit: str) -> str:
        """The same, short."""

    def filled(self, argument: str, commit: str) -> str:
        """An argument of a command for this commit."""


class Commits:
    """Those of a repository that is there."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository

    def commit(self, name: str) -> str:
        """Of anything that git takes for a commit. Raises `InputError` if it does not."""
        return run_git(self.repository, "rev-parse", "--verify", f"{name}^{{commit}}").strip()

    def check_order(self, good: str, bad: str) -> None:
        """Left to git, which knows their ancestors."""

    def name(self, commit: str) -> str:
        """The commit itself."""
        return commit

    def shown(self, commit: str) -> str:
        """Its first characters, as git shows it."""
        return commit[:_SHORT]

    def filled(self, argument: str, commit: str) -> str:  # noqa: ARG002 - it lies in the worktree
        """As it is."""
        return argument


class Environments:
    """The lines of a file, the oldest first, each with an empty commit in a new ``repository``.

    The same lines have the same commits, so that a second bisection finds what was measured. Raises
    `InputError` for a file without two lines, with one that stands there twice, or with characters
    that cannot be seen.
    """

    def __init__(self, file: Path, repository: Path) -> None:
        self.file, self.repository = file, repository
        self._lines = _lines(file)
        repository.mkdir(parents=True, exist_ok=True)
        run_git(repository, "init", "--quiet", "--bare", "--initial-branch=main")
        run_git(repository, "fast-import", "--quiet", "--force", stdin=_stream(self._lines))
        self._commits = run_git(repository, "rev-list", "--reverse", "main").split()

    def commit(self, name: str) -> str:
        """Of a line. Raises `InputError` for what is none of the file."""
        if name not in self._lines:
            raise InputError(f"{self.file}: no line {name!r}; {known(self._lines, name)}")
        return self._commits[self._lines.index(name)]

    def check_order(self, good: str, bad: str) -> None:
        """GOOD has to stand above BAD."""
        if good == bad:
            raise InputError(
                f"{self.file}: GOOD and BAD are one line, {self.name(good)!r}; give two"
            )
        if self._commits.index(good) > self._commits.index(bad):
            raise InputError(
                f"{self.file}: GOOD, {self.name(good)!r}, comes after BAD, {self.name(bad)!r}; "
                "the oldest line comes first"
            )

    def name(self, commit: str) -> str:
        """Its line."""
        return self._lines[self._commits.index(commit)]

    def shown(self, commit: str) -> str:
        """Its line."""
        return self.name(commit)

    def filled(self, argument: str, commit: str) -> str:
        """With the line in place of `PLACE`."""
        return argument.replace(PLACE, self.name(commit))


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not text in UTF-8; give a line per environment") from error
    found = [line.strip() for line in text.split("\n") if line.strip()]
    unseen = next((line for line in found if not line.isprintable()), None)
    if unseen is not None:
        raise InputError(
            f"{file}: the line {unseen!r} has characters that cannot be seen; give a line without"
        )
    twice = next((line for number, line in enumerate(found) if line in found[:number]), None)
    if twice is not None:
        raise InputError(f"{file}: the line {twice!r} stands there twice; give it once")
    if len(found) < _LEAST:
        raise InputError(f"{file}: give a line per environment, two at least, the oldest first")
    return found


def _stream(lines: list[str]) -> str:
    """What git fast-import reads: commits of the first second of 1970, without files."""
    head = "commit refs/heads/main\ncommitter alignmeter <> 0 +0000\ndata"
    return "".join(f"{head} {len(line.encode())}\n{line}\n" for line in lines)
