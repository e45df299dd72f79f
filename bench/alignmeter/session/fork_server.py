"""The private names of multiprocessing's forkserver that this project takes: here alone.

`tests/bench/session/test_fork_server.py` says which one a release of Python has changed.
"""

__all__ = ["stop_server"]

from multiprocessing import forkserver


def stop_server() -> None:
    """Stop the server, if one runs.

    The standard library offers no public way; its own tests use this one.
    """
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
