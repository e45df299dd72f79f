"""Canary: what a release of Python may change without a word."""

import os
import sys
from multiprocessing import forkserver

import pytest

from alignmeter.session.fork_server import server_pid, stop_server
from alignmeter.session.launcher import Launcher


@pytest.mark.parametrize("name", ["_stop", "_forkserver_pid"])
def test_the_name_is_there(name):
    assert hasattr(forkserver._forkserver, name), (
        f"Python {sys.version.split()[0]} has no multiprocessing.forkserver._forkserver.{name}; "
        "see session/fork_server.py"
    )


def test_the_server_is_known_while_it_runs():
    stop_server()  # that of another test
    assert server_pid() is None
    launcher = Launcher()
    launcher.begin_round(0)
    pid = server_pid()
    assert pid is not None
    os.kill(pid, 0)
    launcher.close()
    assert server_pid() is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
