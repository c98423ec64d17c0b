"""URLs of databases: which of their spellings is the same, and that their secrets are never shown."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa

from tuner.errors import StorageError, UnavailableError
from tuner.store.database import database_url, named_storage, open_database, shown, sqlite_file, without_secrets
from tuner.store.journal import StudyPlace, guard

SPELLINGS = [
    "postgresql://me:s3cret@host/db",
    "postgresql+psycopg2://me:s3cret@host:5432/db?sslmode=require",
    "postgresql://me%40corp:s3cret@host/db",
    "postgresql://me@corp:s3cret@host/db",
    "postgresql://:s3cret@host/db",
    "postgresql://me:s3c/ret@host/db",
    "postgresql://me:s3c:ret@host/db",
    "postgresql://me:s3c?ret@host/db",
    "postgresql://me:s3c#ret@host/db",
    "postgresql://me:s3c ret@host/db",
    "postgresql://me:s3c%40ret@host/db",
    "postgresql://me:s3c%2fret@host/db",
    "postgresql://me:s3c{ret}@host/db",
    "postgresql://me:s3c@ret@host/db",
    "postgresql://me:s3c@ret/x@host/db",
    "postgresql://me:s3c?ret@x@host/db",
    "postgresql://me:s3c@ret?x=y@host/db",
    "postgresql://me:s3c@x:ret@host/db",
    "postgresql://me:s3cret@[::1]:5432/db",
    "postgresql:///db?host=/tmp&user=me&password=s3cret",
    "postgresql://host/db?user=me&password=s3c%40ret&sslpassword=ret",
    "mysql+pymysql://me:s3cret@host/db?charset=utf8mb4&ssl_key=s3cret",
    "postgres:/me:s3cret@host/db",
    "host=host user=me password=s3cret",
    "me:s3cret@host",
    "postgresql://me:s3cret@host:s3cret/db",
]
PARTS = ("s3c", "ret")


@pytest.mark.parametrize("url", SPELLINGS)
def test_no_spelling_shows_a_secret(url: str) -> None:
    assert not any(part in shown(url) for part in PARTS)
    try:
        database_url(url)
    except (StorageError, UnavailableError) as e:
        assert not any(part in str(e) for part in PARTS) and shown(url) in str(e)


@pytest.mark.parametrize("url", SPELLINGS)
def test_what_a_driver_says_is_told_without_the_secret(url: str) -> None:
    place = StudyPlace(Path(), url)
    try:
        parsed: sa.URL | None = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = None
    pieces = [url]
    if parsed is not None:
        pieces += [str(parsed.password), f'FATAL: no such host "{parsed.host}"', parsed.render_as_string(False)]
        pieces += [str(parsed.database), *map(str, parsed.query.values())]

    def driver() -> None:
        raise RuntimeError(" and ".join(pieces))

    with pytest.raises(StorageError) as e:
        guard(place, driver)
    told = "".join(traceback.format_exception(e.value.with_traceback(None)))
    assert not any(part in told for part in PARTS), told


def test_what_is_no_secret_is_shown() -> None:
    assert shown("sqlite:///a/trials.db") == "sqlite:///a/trials.db"
    assert shown("sqlite:////home/me@work/trials.db") == "sqlite:////home/me%40work/trials.db"
    assert shown("trials.db") == "trials.db"
    assert (
        shown("postgresql://me:pw@h:1/db?host=/tmp&options=-cx") == "postgresql://me:***@h:1/db?host=%2Ftmp&options=***"
    )
    assert (
        without_secrets("postgresql: no user postgres", "postgresql://me:post@h/db") == "postgresql: no user postgres"
    )


def test_an_at_sign_that_is_not_escaped_is_said() -> None:
    with pytest.raises(StorageError, match=r"postgresql://me:\*\*\*@host/db: .* write an @ that belongs to it as %40"):
        database_url("postgresql://me:p@ss@host/db")


def test_what_is_no_url_is_said() -> None:
    for text, said in (("trials.db", "trials.db is no URL"), ("nosuch://here", "Can't load plugin"), ("", "is no URL")):
        with pytest.raises(StorageError, match=said):
            database_url(text)


def test_a_plain_url_takes_a_driver_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing, driver in (((), "psycopg"), (("psycopg",), "psycopg2"), (("psycopg2",), "psycopg")):
        with monkeypatch.context() as patch:
            for name in missing:
                patch.setitem(sys.modules, name, None)
            for scheme in ("postgresql", "postgres"):
                assert database_url(f"{scheme}://me@host/db").drivername == f"postgresql+{driver}"
    for name in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, name, None)
    for url in ("postgresql://me:s3cret@host/db", "postgresql+psycopg2://me:s3cret@host/db"):
        with pytest.raises(UnavailableError, match=r"pip install 'qdp-tuner\[postgresql\]'") as e:
            database_url(url)
        assert "s3cret" not in str(e.value) and e.value.exit_code == 3


def test_an_unreachable_server_is_named_without_its_password() -> None:
    url = "postgresql://me:s3cret@127.0.0.1:1/trials"
    with pytest.raises(StorageError, match=r"postgresql://me:\*\*\*@127\.0\.0\.1:1/trials: ") as e:
        guard(StudyPlace(Path(), url), lambda: open_database(url))
    assert "s3cret" not in str(e.value)


def test_a_wrong_password_is_not_told(postgresql: str) -> None:
    url = postgresql.replace(sa.make_url(postgresql).password or "", "s3cret")
    with pytest.raises(StorageError, match="password authentication failed") as e:
        guard(StudyPlace(Path(), url), lambda: open_database(url))
    assert "s3cret" not in "".join(traceback.format_exception(e.value))


@pytest.mark.parametrize("password", ["a b", "p@ss:w/o?r#d", "{x}", "%40", "ü'\"\\"])
def test_any_password_opens_when_it_is_escaped(postgresql: str, password: str) -> None:
    url = sa.make_url(postgresql)
    user = f"user{abs(hash(password))}"
    quoted = password.replace("'", "''")
    with sa.create_engine(database_url(postgresql), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{quoted}'".replace("%", "%%"))
    other = url.set(username=user, password=password).render_as_string(hide_password=False)
    assert open_database(other).get_all_studies() == []
    assert password not in shown(other)


def test_spellings_of_one_file_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "other.db").symlink_to("trials.db")
    spellings = [
        "sqlite:///trials.db",
        "sqlite:///./x/../trials.db",
        f"sqlite:///{tmp_path}/trials.db",
        f"sqlite+pysqlite:////{tmp_path}//trials.db",
        "sqlite:///link/trials.db",
        "sqlite:///other.db",
        "sqlite:///file:trials.db?uri=true",
        f"sqlite:///file://{tmp_path}/trials.db?uri=true",
        f"sqlite:///file://localhost{tmp_path}/trials.db?uri=true&cache=shared",
    ]
    assert {sqlite_file(database_url(url)) for url in spellings} == {tmp_path / "trials.db"}
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true", "postgresql://h/trials.db"):
        assert sqlite_file(database_url(url)) is None


def test_the_variable_names_a_storage_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_STORAGE", raising=False)
    assert named_storage(None) is None
    monkeypatch.setenv("TUNER_STORAGE", "sqlite:///a.db")
    assert named_storage(None) == "sqlite:///a.db" and named_storage("sqlite:///b.db") == "sqlite:///b.db"
    monkeypatch.setenv("TUNER_STORAGE", "")
    assert named_storage(None) is None


RACE = """
import sys
import optuna
from pathlib import Path
from tuner import choice
from tuner.kernel.problem_data import ProblemData
from tuner.outcome import Origin
from tuner.search.space import Space
from tuner.store.journal import open_journal
from tuner.store.study_data import StudyIdentity

url, start, *problems = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
optuna.logging.set_verbosity(optuna.logging.ERROR)
for problem in problems:
    data = ProblemData("k::k", {"N": int(problem[2:])}, {}, {})
    identity = StudyIdentity(data, problem, Origin("b", "measurement", "d"))
    open_journal(Path(), url, identity, Space((choice("A", 1, 2),)))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_tables_and_studies_may_be_created_by_many_at_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/t.db" if database == "sqlite" else str(request.getfixturevalue("postgresql"))
    command = [sys.executable, "-c", RACE, url, "", "N=1", "N=2", "N=3"]
    pipe = subprocess.PIPE
    together = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ}) for _ in range(6)
    ]
    for process in together:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in together:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in together]
    assert [p.returncode for p in together] == [0] * 6, errors
    assert len(open_database(url).get_all_studies()) == 3
