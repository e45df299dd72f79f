"""What the forkserver alone imports: it ends without a traceback when its client is gone.

Ctrl-C between connecting and sending the request leaves the server with half a request. It raises
`EOFError` and ends, as the run does; nobody needs to read that. Where a run goes on, `Launcher`
says that the server ended.
"""

import sys
from types import TracebackType


def _said(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, EOFError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _said
