"""The folder for temporary files: it goes away with its process, or with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

OWNER = """
import sys, time
from pathlib import Path
from tuner.temporary import temporary_folder
folder = temporary_folder()
(folder / "kernel.ptx").write_text("…")
assert temporary_folder() == folder
print(folder, flush=True)
sys.stdin.read()
"""


def start(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has its folder in a place until its stdin is closed, and the folder."""
    pipe, environment = subprocess.PIPE, {**os.environ, "TMPDIR": str(place)}
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=pipe, stdout=pipe, text=True, env=environment)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_it_goes_away_with_its_process(tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    assert folder.parent == tmp_path and (folder / "kernel.ptx").exists()
    assert finish(process) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next(tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert (folder / "kernel.ptx").exists()
    assert finish(start(tmp_path)[0]) == 0
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_living_process_stays(tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    assert finish(start(tmp_path)[0]) == 0
    assert (folder / "kernel.ptx").exists()
    finish(process)


@pytest.mark.parametrize("kind", ["no lock", "symbolic link", "locked through a symbolic link"])
def test_what_is_not_ours_stays(tmp_path: Path, kind: str) -> None:
    place, theirs = tmp_path / "place", tmp_path / "theirs"
    for folder in (place, theirs):
        folder.mkdir()
    (theirs / "precious").touch()
    (theirs / "lock").touch()
    alike = place / "qdp-tuner-abcdefgh"
    if kind == "symbolic link":
        alike.symlink_to(theirs)
    else:
        alike.mkdir()
        (alike / "precious").touch()
    if kind == "locked through a symbolic link":
        (alike / "lock").symlink_to(theirs / "lock")
    assert finish(start(place)[0]) == 0
    assert (alike / "precious").exists() and (theirs / "precious").exists()


def test_a_place_that_cannot_be_written_is_told() -> None:
    code = "import tempfile; tempfile.tempdir = '/proc'; import tuner.temporary as t; t.temporary_folder()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageError: no temporary file can be written" in done.stderr and "TMPDIR" in done.stderr
