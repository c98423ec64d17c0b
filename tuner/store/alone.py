"""Keep a second run off what a run is using, however the second one spells it, and say whose it is.

The kernel, or the database, frees every lock here when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StorageError
from tuner.store.database import database_url, sqlite_file
from tuner.store.journal import StudyPlace, guard

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

_KEEP_ALIVE_S = 60
"""Routers forget a connection on which nothing is sent, and the lock is lost with it."""

_HOLDER = """
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint) = :key
"""


@contextmanager
def exclusive(folder: Path, url: str | None) -> Iterator[None]:
    """Keep a second run off the same results folder, and off the same SQLite file.

    Raises:
        StorageError: when another run is using it, or a lock cannot be written.
    """
    database = None if url is None else sqlite_file(database_url(url))
    with ExitStack() as held:
        held.enter_context(_file_lock(folder / ".lock", str(folder), "choose another --out"))
        if database is not None:
            name = str(StudyPlace(folder, url))
            held.enter_context(_file_lock(database.parent / f".{database.name}.lock", name, "choose another --storage"))
        yield


@contextmanager
def exclusive_study(url: str | None, study: str) -> Iterator[None]:
    """Keep a second run off a study in a database that many runs share.

    With PostgreSQL that holds for every machine, by an advisory lock on a connection that stays open meanwhile; with
    other databases for this machine. Of SQLite and of a journal in a folder `exclusive` locks all.

    Raises:
        StorageError: when another run is using the study, or the database cannot be reached.
    """
    database = None if url is None else database_url(url)
    if database is None or database.get_backend_name() == "sqlite":
        yield
        return
    place = StudyPlace(Path(), url)
    lock = _advisory_lock if database.get_backend_name() == "postgresql" else _machine_lock
    with lock(database, study, place):
        yield


@contextmanager
def _file_lock(path: Path, name: str, else_: str) -> Iterator[None]:
    """Hold a lock file, in which the holder is named."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as e:
        raise StorageError(f"{path} cannot be written ({e.strerror}); give write access, or {else_}") from e
    try:
        _take(descriptor, path, name, else_)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, name: str, else_: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _me().encode(), 0)
    except BlockingIOError:
        raise _refusal(name, os.pread(descriptor, 200, 0).decode(errors="replace"), else_) from None
    except OSError as e:
        raise StorageError(f"{path} cannot be written ({e.strerror}); give room, or {else_}") from e


@contextmanager
def _advisory_lock(database: URL, study: str, place: StudyPlace) -> Iterator[None]:
    """Hold a lock of a PostgreSQL server, on a connection that says whose it is."""
    connection = guard(place, lambda: _connect(database))
    try:
        holder = guard(place, lambda: _try_lock(connection, study))
        if holder is not None:
            raise _refusal(f"the study {study!r} in {place}", holder, "end it")
        yield
    finally:
        with suppress(Exception):  # the server may be gone, and the lock with it
            connection.close()


def _connect(database: URL) -> Connection:
    import sqlalchemy as sa

    known = database.get_driver_name() in ("psycopg", "psycopg2")
    options = {"keepalives_idle": _KEEP_ALIVE_S} if known else {}
    engine = sa.create_engine(database, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=options)
    return engine.connect()


def _try_lock(connection: Connection, study: str) -> str | None:
    """Take the lock of a study; who holds it where that fails, and else None."""
    import sqlalchemy as sa

    schema = connection.scalar(sa.text("SELECT current_schema()"))  # Optuna's tables may be in several
    digest = hashlib.sha256(json.dumps(["qdp-tuner", schema, study]).encode()).digest()
    key = {"key": int.from_bytes(digest[:8], signed=True)}
    connection.execute(sa.text("SELECT set_config('application_name', :name, false)"), {"name": f"tuner {_me()}"})
    if connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), key):
        return None
    return str(connection.scalar(sa.text(_HOLDER), key) or "").removeprefix("tuner ")


@contextmanager
def _machine_lock(database: URL, study: str, place: StudyPlace) -> Iterator[None]:
    """Hold a name that only one socket of this machine can have; no file, no folder and no variable is part of it."""
    identity = [database.get_backend_name(), database.host, database.port, database.database, study]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(f"\0qdp-tuner-{name}")
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                raise
            raise _refusal(f"the study {study!r} in {place}", "on this machine", "end it") from None
        yield


def _refusal(what: str, holder: str, else_: str) -> StorageError:
    whose = f" ({' '.join(holder.split())})" if holder.strip() and holder.isprintable() else ""
    return StorageError(f"another run{whose} is using {what}; wait for it, or {else_}")


def _me() -> str:
    """This process, in the 63 characters that PostgreSQL keeps of a name."""
    return f"pid {os.getpid()} on {socket.gethostname()[:18]} since {datetime.now(UTC):%Y-%m-%dT%H:%MZ}"
