"""`alignmeter report --open` hands the page to the desktop, or says that nothing took it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_records import make_record

from alignmeter.records.folder import write_record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is how Linux opens files")


def report_open(folder, programs):
    """The finished command, with ``programs`` as the only folder of its PATH."""
    write_record(folder / "a run", make_record(method="dpo"))
    program = Path(sys.executable).parent / "alignmeter"
    environment = {**os.environ, "PATH": str(programs)}
    return subprocess.run(
        [program, "report", "a run", "--out", "a page.html", "--open"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


def appeared(path: Path) -> str:
    """What is in the file as soon as it is there."""
    limit = time.monotonic() + 20
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    return path.read_text()


@pytest.mark.full
def test_the_page_is_opened(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    opener = programs / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/half" && /bin/mv "{tmp_path}/half" '
                      f'"{tmp_path}/opened"\n')  # fmt: skip
    opener.chmod(0o755)
    done = report_open(tmp_path, programs)
    assert done.returncode == 0, done.stderr
    assert appeared(tmp_path / "opened").strip() == str(tmp_path / "a page.html")
    assert "Warning" not in done.stderr


@pytest.mark.full
def test_where_nothing_opens_it_the_page_is_named(tmp_path):
    done = report_open(tmp_path, tmp_path / "nothing")
    assert done.returncode == 0, done.stderr
    assert "Warning: a page.html: nothing here opens a page; open it in a browser" in done.stderr
    assert (tmp_path / "a page.html").is_file()
