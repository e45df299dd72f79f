"""The private names of multiprocessing's forkserver that this project takes: here alone.

`tests/bench/session/test_fork_server.py` says which one a release of Python has changed.
"""

__all__ = ["stop_server"]

import os
import signal
from multiprocessing import forkserver
from typing import Any


def stop_server() -> None:
    """Stop the server, if one runs.

    The standard library offers no public way; its own tests use this one. It asks the server to
    end and waits without a limit, and a server that hangs would stop every later cell; it keeps
    nothing that a signal could lose.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)  # ours and not reaped: still its own
    server._stop()
