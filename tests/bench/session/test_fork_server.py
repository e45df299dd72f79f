"""Canary: what a release of Python may change without a word."""

import os
import sys
from multiprocessing import forkserver

import psutil
import pytest

from alignmeter.session.fork_server import stop_server
from alignmeter.session.launcher import Launcher


def test_the_name_is_there():
    assert hasattr(forkserver._forkserver, "_stop"), (
        f"Python {sys.version.split()[0]} has no multiprocessing.forkserver._forkserver._stop; "
        "see session/fork_server.py"
    )


@pytest.mark.full
def test_the_server_ends_with_the_launcher():
    stop_server()  # that of another test
    launcher = Launcher()
    launcher.begin_round(0)
    worker = launcher.start()
    pid = psutil.Process(worker.pid).ppid()
    worker.close()
    os.kill(pid, 0)
    launcher.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
