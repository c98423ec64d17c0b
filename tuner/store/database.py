"""Databases that hold trials: how a URL is read, shown without its secrets, and opened.

SQLAlchemy opens them, so SQLAlchemy says what of a URL is the password.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

from tuner.errors import StorageError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy import URL

VARIABLE = "TUNER_STORAGE"
"""The environment variable for a URL that is to stand on no command line."""

EXTRA = "pip install 'qdp-tuner[postgresql]'"

_HIDDEN = "***"
_NO_SECRETS = frozenset(
    {"application_name", "charset", "connect_timeout", "dbname", "host", "port", "sslmode", "uri", "user"}
)
"""Parameters of a URL that may be shown; any other may hold a password or a token."""

_POSTGRESQL_DRIVERS = ("psycopg", "psycopg2")
"""Who opens a URL that names none, the first that is installed. SQLAlchemy's own choice depends on its version."""

_RACES = re.compile(
    "already exists|duplicate|unique constraint|database is locked|deadlock|concurrently", re.IGNORECASE
)
"""What databases say to one of two processes that create the same table at once."""

_ATTEMPTS = 20


def named_storage(given: str | None) -> str | None:
    """The URL that was given, or else that of the environment variable; None where there is neither."""
    return given or os.environ.get(VARIABLE) or None


def database_url(text: str) -> URL:
    """Read the URL of a database; a PostgreSQL URL without a driver gets one that is installed.

    Raises:
        StorageError: when it is none, or its password has to be written otherwise.
        UnavailableError: when its driver is not installed.
    """
    import sqlalchemy as sa

    url = _parsed(text)
    if url is None:
        raise StorageError(f"{shown(text)} is no URL of a database; name one with --storage, as sqlite:///trials.db")
    if url.password is not None and "@" in _after_password(text):
        raise StorageError(f"{shown(text)}: the password ends at the first @; write an @ that belongs to it as %40")
    plain = url.drivername in ("postgresql", "postgres")
    missing = ""
    for spelt in [url.set(drivername=f"postgresql+{driver}") for driver in _POSTGRESQL_DRIVERS] if plain else [url]:
        try:
            spelt.get_dialect().import_dbapi()
            return spelt
        except sa.exc.ArgumentError as e:
            raise StorageError(f"{shown(text)}: {e}; name a database as sqlite:///trials.db") from e
        except ImportError as e:
            missing = missing or str(e)
    raise UnavailableError(f"{shown(text)} cannot be opened: {missing}; install its driver, for PostgreSQL: {EXTRA}")


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database, however it is spelt; None for one in memory and for other databases."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in ("", ":memory:") or url.query.get("mode") == "memory":
        return None
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:"))
        name = re.sub("^//[^/]*(?=/)", "", name)
    return Path(os.path.realpath(name))


def open_database(text: str) -> Any:
    """Open the Optuna storage at a URL; its tables are made where there are none.

    Raises:
        StorageError: for what is no URL.
        UnavailableError: when its driver is not installed.
        Exception: whatever the driver raises.
    """
    import optuna

    url = database_url(text).render_as_string(hide_password=False)
    for attempt in range(_ATTEMPTS):
        try:
            return optuna.storages.get_storage(url)
        except Exception as e:
            if attempt == _ATTEMPTS - 1 or not _RACES.search(str(e)):
                raise
            time.sleep(random.uniform(0.01, 0.1))  # another process has just made what this one was making
    raise AssertionError


def shown(text: str) -> str:
    """Spell a URL without its password and whatever else may be secret in it."""
    url = _parsed(text)
    if url is None:  # nobody knows which part of it is the password
        return text if re.fullmatch(r"[\w./-]*", text) else "the storage URL"
    if url.password is not None and "@" in _after_password(text):
        where = _after_password(text).rpartition("@")[2].partition("?")[0]
        return f"{url.drivername}://{quote(url.username or '')}:{_HIDDEN}@{where}"
    query = {name: value if name in _NO_SECRETS else _HIDDEN for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True).replace(quote_plus(_HIDDEN), _HIDDEN)


def without_secrets(message: str, text: str) -> str:
    """A message, of a driver say, without what `shown` hides of a URL."""
    for secret in sorted(_secrets(text), key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, message)
    return message


def _secrets(text: str) -> set[str]:
    """The secret parts of a URL as they stand in it and as they are read."""
    url = _parsed(text)
    found = {text}
    if url is not None and url.password is not None:
        _, _, rest = text.partition("://")[2].partition(":")
        written = rest.rpartition("@")[0] if "@" in _after_password(text) else rest.partition("@")[0]
        found |= {str(url.password), written, *re.split("[@:/?]", written)}
    if url is not None:
        found |= {value for name, value in _flat(url.query) if name not in _NO_SECRETS}
    return {spelt for f in found for spelt in (f, quote(f), quote_plus(f), quote(f, safe=" +"))} - {""}


def _after_password(text: str) -> str:
    """What SQLAlchemy takes for host, database and parameters: all after the first @ that follows a colon."""
    return text.partition("://")[2].partition(":")[2].partition("@")[2]


def _flat(query: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(n, v) for n, values in query.items() for v in ((values,) if isinstance(values, str) else values)]


def _parsed(text: str) -> URL | None:
    import sqlalchemy as sa

    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # a port that is no number
        return None
