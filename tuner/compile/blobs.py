"""What was compiled and checked before, on disk under the hash of everything it depends on.

One file per entry: a line that names the format, a SHA-256, then the entry as compressed MessagePack.
Entries are data and decoded into their declared types; one that is damaged, cut short or foreign is
discarded and made again. Files appear whole, by renaming, so any number of processes may share a folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

LIMIT_BYTES = 2 << 30
"""How large the folder may grow by default."""

_MAGIC = b"qdp-tuner store 1\n"
_LARGEST_BYTES = 256 << 20
"""No entry is larger before compression; a file that claims to be is not one of ours."""

_KEEP = 0.8
"""Eviction goes down to this share of the limit, so that it is rare."""

_TEMPORARY = ".tmp"
_ABANDONED = re.compile(r"\.[0-9a-f]{16}\.tmp")
_ABANDONED_S = 3600
"""A temporary file this old has lost its writer."""

_log = logging.getLogger(__name__)


def default_folder() -> Path:
    """`TUNER_COMPILE_CACHE`, or a folder in the user's cache directory."""
    import platformdirs

    override = os.environ.get("TUNER_COMPILE_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("qdp-tuner") / "compile"


class Store:
    """A bounded folder of typed entries, the least recently used of which go first.

    Never raises for the state of the folder: what cannot be read is a miss, and what cannot be written
    is reported once through `logging` and not kept.

    Args:
        folder: made when the first entry is kept.
        limit_bytes: the folder's size at which old entries are removed. Other processes' writes count
            from the next removal on, so the folder may exceed it for a while by what they wrote.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._size: int | None = None
        self._lock = threading.Lock()
        self._complained = False

    def get(self, key: str, kind: type[T]) -> T | None:
        """The entry of this type under a key, or None."""
        path = self._path(key, kind)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            value = msgspec.msgpack.decode(_unpack(data), type=kind)
        except (ValueError, RecursionError, zlib.error, msgspec.MsgspecError) as e:
            _log.warning("discarding damaged cache entry %s: %s", path, e)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return value

    def put(self, key: str, value: object) -> None:
        """Keep an entry; the last one under a key and type counts."""
        path = self._path(key, type(value))
        data = _pack(msgspec.msgpack.encode(value))
        temporary = path.parent / f".{secrets.token_hex(8)}{_TEMPORARY}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not synchronised to the disk: what a power cut tears fails its checksum and is made again.
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as e:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._complained:
                _log.warning("%s cannot be written (%s); compiled code is not kept for the next run", path, e.strerror)
                self._complained = True
            return
        self._bound(len(data))

    def _path(self, key: str, kind: type) -> Path:
        return self._folder / key[:2] / f"{key}.{kind.__name__.lower()}"

    def _bound(self, added: int) -> None:
        with self._lock:
            if self._size is None:
                self._size = sum(size for _, size, _ in self._files())
            else:
                self._size += added
            if self._size <= self._limit:
                return
            files = sorted(self._files())
            self._size = sum(size for _, size, _ in files)
            for _, size, path in files:
                if self._size <= self._limit * _KEEP:
                    break
                with suppress(OSError):
                    path.unlink()
                self._size -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each entry was last used, its size, and where it is. Clears what killed writers left behind."""
        files = []
        for path in self._folder.glob("??/*"):
            with suppress(OSError):
                status = path.lstat()
                if path.name.startswith(path.parent.name):  # else the folder is shared with files of others
                    files.append((status.st_mtime, status.st_size, path))
                elif _ABANDONED.fullmatch(path.name) and status.st_mtime < time.time() - _ABANDONED_S:
                    path.unlink()
        return files


def _pack(content: bytes) -> bytes:
    payload = zlib.compress(content, level=1)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def _unpack(data: bytes) -> bytes:
    magic, digest, payload = data[: len(_MAGIC)], data[len(_MAGIC) :][:32], data[len(_MAGIC) + 32 :]
    if magic != _MAGIC or hashlib.sha256(payload).digest() != digest:
        raise ValueError("its checksum does not match")
    decompressor = zlib.decompressobj()
    content = decompressor.decompress(payload, _LARGEST_BYTES)
    if not decompressor.eof:
        raise ValueError("it is too large")
    return content
