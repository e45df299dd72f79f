"""Runs forked from a process that has the imports: a script, and the test's end of it.

Each run is a process with a forkserver, workers and samplers of its own, and no imports before its
work, so that a kill at a random moment hits work. The script reads a JSON list per line, folder and
arguments; it answers with the process id, and with the exit status once that process has ended.
"""

import json
import os
import subprocess
import sys

import psutil


class PreloadedRuns:
    """Starts runs, one after another."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def start(self, folder, arguments):
        """The run as a process; what it prints goes to the file ``said`` in ``folder``."""
        self._process.stdin.write(json.dumps([str(folder), *arguments]) + "\n")
        return psutil.Process(int(self._process.stdout.readline()))

    def wait(self):
        """Exit status of the run that was started last, and what it said."""
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def _run(folder, arguments):
    from alignmeter.cli import main

    os.setsid()
    os.chdir(folder)
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, stream in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(handle, stream)
    sys.argv = ["alignmeter", *arguments]
    main()


def _serve():
    import alignmeter.worker.preload  # noqa: F401 - imported in order to be imported

    while line := sys.stdin.readline():
        folder, *arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(folder, arguments)
        print(pid, flush=True)  # noqa: T201 - the answer
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
