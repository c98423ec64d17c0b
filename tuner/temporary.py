"""The folder for what this process and its children leave on disk for a while.

A process that is killed cannot tidy up. So everything temporary goes into one folder, which goes away with the process,
or else with the next one that needs such a folder: a lock in it tells whether its owner is still there.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import StorageError

_PREFIX = "qdp-tuner-"
_LOCK = "lock"


@dataclass(frozen=True)
class _Owned:
    """The folder of a process.

    Attributes:
        path: the folder.
        lock: a descriptor that holds its lock for as long as the process lives.
        process: the owner; one that was forked from it is another.
    """

    path: Path
    lock: int
    process: int


_owned: _Owned | None = None


def temporary_folder() -> Path:
    """Find the folder of this process, which is made when it is first asked for and removed when the process ends.

    Folders of processes that were killed are removed when it is made.

    Raises:
        StorageError: when there is no place for temporary files.
    """
    global _owned
    if _owned is None or _owned.process != os.getpid() or not _owned.path.is_dir():
        try:
            _sweep(Path(tempfile.gettempdir()))
            _owned = _make()
        except OSError as e:
            why = f"{e.filename}: {e.strerror}" if e.filename else e.strerror or str(e)
            raise StorageError(f"no temporary file can be written ({why}); name a folder with room in TMPDIR") from e
        atexit.register(_remove, _owned)
    return _owned.path


def _make() -> _Owned:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        # Another process may have taken the folder for a leftover before it was locked.
        if _lock(lock) and os.fstat(lock).st_nlink:
            return _Owned(path, lock, os.getpid())
        os.close(lock)


def _sweep(place: Path) -> None:
    """Remove folders of this user's processes that are no longer there."""
    for path in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.is_symlink() or path.lstat().st_uid != os.getuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _lock(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _lock(descriptor: int) -> bool:
    """Take a lock, unless another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(owned: _Owned) -> None:
    if owned.process == os.getpid():
        shutil.rmtree(owned.path, ignore_errors=True)
