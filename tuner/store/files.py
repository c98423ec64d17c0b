"""Write files so that a reader sees the old content or the new, whatever happens to the writer.

A file that was written may come from somebody else, in a pull request say. So a name that stands in one is data:
`recorded_path` decides what it may be, for everything that makes a path of it.
"""

from __future__ import annotations

import os
import re
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
        for leftover in leftovers(path):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def require_writable(path: Path) -> None:
    """Refuse a file that `write_atomic` could not write, before work is done whose outcome goes there.

    Raises:
        StorageError: when its folder cannot be made or written.
    """
    with locked(path):
        probe = _temporary(_real(path))
        try:
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as e:
            raise StorageError(_cannot_write(path, e)) from e


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the content of `path`, or leave it as it was.

    A new file is written in the same folder, brought to the disk and renamed. The permissions of a
    file that is replaced are kept, and a symbolic link keeps pointing to it.

    Raises:
        StorageError: when the folder cannot be written or the disk is full. Nothing is left behind.
    """
    path = _real(path)
    temporary = _temporary(path)
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


def leftovers(path: Path) -> list[Path]:
    """Find what writers of `path` that were killed left beside it."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    try:
        beside = list(path.parent.iterdir())
    except OSError:  # may be entered, not listed
        return []
    return [p for p in beside if ours.fullmatch(p.name) and p.is_file() and not p.is_symlink()]


def recorded_path(folder: Path, name: str, where: str) -> Path:
    """Make a path of a file name that was read from a file, or from a database.

    The name has the form ``part/part``: relative, printable, without ``.``, ``..``, empty parts and backslashes. What
    it leads to lies in the folder, symbolic links followed; it need not exist.

    Args:
        folder: the only one that the name may lead into.
        name: as it was read.
        where: the file that holds it, and the key, for the message.

    Raises:
        StorageError: for any other name.
    """
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise StorageError(f"{where}: {name!r} is not the name of a file in {folder}; restore {where.split(':')[0]}")
    path = folder / name
    if not _real(path).is_relative_to(_real(folder)):
        raise StorageError(f"{where}: {path} is a symbolic link out of {folder}; remove the link")
    return path


def plain_content(folder: Path, name: str) -> bytes | None:
    """Read a file in a folder by its recorded name; None unless it is a plain file that no symbolic link leads to.

    Whoever replaces or deletes a file compares this with what was once written.
    """
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            return None
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _temporary(path: Path) -> Path:
    """A new name beside a file, which `leftovers` finds again."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"


def _real(path: Path) -> Path:
    """The file behind symbolic links, whether it exists or not."""
    return Path(os.path.realpath(path))


def _cannot_write(path: Path, error: OSError) -> str:
    return f"{path} cannot be written: {error.strerror or error}; give room or write access, or choose another place"
