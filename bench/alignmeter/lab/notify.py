"""A morning's news to whoever waits for it: a webhook, or a file."""

__all__ = ["notify"]

import urllib.request
from pathlib import Path

import msgspec

from alignmeter.errors import InputError
from alignmeter.lab.morning import Morning
from alignmeter.records.folder import write_bytes
from alignmeter.text import counted

_TIMEOUT_S = 30.0


def notify(target: str, found: Morning, folder: Path) -> None:
    """POST the news as JSON to a URL, or write them to a file relative to ``folder``.

    Beside the lists of `Morning`: ``text``, one line that chats show, and ``quiet``. Raises
    `InputError` where nobody takes them.
    """
    count = counted(sum(map(len, found.lists.values())), "line of news", "lines of news")
    said = f"Night {found.night}: {'no news' if found.quiet else count}"
    content = {"text": said, "quiet": found.quiet, **msgspec.to_builtins(found)}
    data = msgspec.json.format(msgspec.json.encode(content), indent=1)
    if not target.startswith(("http://", "https://")):
        write_bytes(folder / target, data + b"\n")
        return
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of the two above
        target, data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            pass
    except (OSError, ValueError) as error:  # a status that is none of success is an OSError too
        why = getattr(error, "reason", error)
        raise InputError(
            f"notify: {target} did not take the news ({why}); give the URL of a webhook that "
            "answers, or a file"
        ) from error
