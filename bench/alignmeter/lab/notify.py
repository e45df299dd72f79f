"""A morning's news to whoever waits for it: a webhook, or a file."""

__all__ = ["check_target", "notify"]

import http.client
import urllib.parse
import urllib.request
from pathlib import Path

import msgspec

from alignmeter.errors import InputError
from alignmeter.lab.morning import Morning
from alignmeter.records.folder import write_bytes
from alignmeter.text import counted, shortened

_TIMEOUT_S = 30.0
_SAID = 100
"""Characters of what somebody else wrote, in a sentence."""
_SCHEMES = ("http", "https")


def check_target(target: str, where: str) -> None:
    """Raises `InputError`, naming ``where`` it stands, for what is neither a URL nor a path."""
    try:
        found = urllib.parse.urlsplit(target)
        web = found.scheme in _SCHEMES and found.hostname and found.port != 0
        wrong = "://" in target and (not web or " " in target)
    except ValueError:  # of a port, or of an address in brackets
        wrong = True
    if wrong or not target or not target.isprintable():
        raise InputError(
            f"{where} is {shortened(target, _SAID)!r}; give a URL such as "
            "https://chat.example/hook, or a path"
        )


def notify(target: str, found: Morning, folder: Path) -> None:
    """POST the news as JSON to a URL, or write them to a file relative to ``folder``.

    Beside the lists of `Morning`: ``text``, one line that chats show, and ``quiet``. Raises
    `InputError` where nobody takes them.
    """
    count = counted(sum(map(len, found.lists.values())), "line of news", "lines of news")
    said = f"Night {found.night}: {'no news' if found.quiet else count}"
    content = {"text": said, "quiet": found.quiet, **msgspec.to_builtins(found)}
    data = msgspec.json.format(msgspec.json.encode(content), indent=1)
    if "://" not in target:
        write_bytes(folder / target, data + b"\n")
        return
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of the two above
        target, data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            pass
    # A status that is none of success is an OSError too; the third is an answer that is no HTTP.
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = shortened(str(getattr(error, "reason", "") or error or type(error).__name__), _SAID)
        raise InputError(
            f"notify: {target} did not take the news ({why}); give the URL of a webhook that "
            "answers, or a file"
        ) from error
