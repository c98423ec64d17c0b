"""Write files so that a reader sees the old content or the new, whatever happens to the writer."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import StorageError

LOCK_TIMEOUT_S = 60.0
"""Holders of a lock read, merge and write one file, which takes milliseconds: this long means one hangs."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out of `path` while its content is read, changed and written back.

    The lock is the file `.NAME.lock` beside it; the kernel frees it when its holder dies. What a killed
    writer left behind is removed.

    Raises:
        StorageError: when the folder cannot be written, or the lock is not free within `LOCK_TIMEOUT_S`.
    """
    import filelock

    path = _real(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.parent / f".{path.name}.lock")
        lock.acquire(timeout=LOCK_TIMEOUT_S, poll_interval=0.005)
    except filelock.Timeout:
        raise StorageError(
            f"{path}: another process has held its lock for {LOCK_TIMEOUT_S:.0f} s; end it, or choose another file"
        ) from None
    except OSError as e:
        raise StorageError(_cannot_write(path, e)) from e
    try:
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path`, or leave it as it was.

    A new file is written in the same folder, brought to the disk and renamed. The permissions of a
    file that is replaced are kept, and a symbolic link keeps pointing to it.

    Raises:
        StorageError: when the folder cannot be written or the disk is full. Nothing is left behind.
    """
    path = _real(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as f:
                if path.exists():
                    os.fchmod(f.fileno(), stat.S_IMODE(path.stat().st_mode))
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as e:
        raise StorageError(_cannot_write(path, e)) from e


def _real(path: Path) -> Path:
    """The file behind symbolic links, whether it exists or not."""
    return Path(os.path.realpath(path))


def _cannot_write(path: Path, error: OSError) -> str:
    return f"{path} cannot be written: {error.strerror or error}; give room or write access, or choose another place"
