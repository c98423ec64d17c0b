"""One run at a time on a folder, a file, a study: however it is spelt, and until the holder dies."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import PASSWORD
from workspace import Workspace

from tuner.errors import StorageError
from tuner.store.alone import exclusive, exclusive_study
from tuner.store.database import database_url

HOLD = """
import sys
from pathlib import Path
from tuner.store.alone import exclusive, exclusive_study

kind, folder, url, study = sys.argv[1:]
with exclusive(Path(folder), url or None) if kind == "exclusive" else exclusive_study(url, study):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(kind: str, folder: Path, url: str, study: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process, with another home, that holds a lock until it is killed."""
    environment = {**os.environ, "HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "TMPDIR": str(folder)}
    command = [sys.executable, "-c", HOLD, kind, str(folder), url, study]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; a test that waits in vain is ended from outside."""
    while not holds():
        time.sleep(0.01)


def free(url: str, study: str) -> bool:
    try:
        with exclusive_study(url, study):
            return True
    except StorageError:
        return False


def whose(process: subprocess.Popen[str]) -> str:
    host = re.escape(socket.gethostname()[:18])
    return rf"another run \(pid {process.pid} on {host} since \d{{4}}-\d\d-\d\dT\d\d:\d\dZ\) is using "


def test_a_folder_is_refused_until_its_holder_dies_and_it_is_said_whose_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with holder("exclusive", tmp_path, "") as process:
        for spelt in (tmp_path, tmp_path / "link", tmp_path / "link" / ".." / tmp_path.name):
            with pytest.raises(StorageError, match=whose(process) + re.escape(str(spelt))), exclusive(spelt, None):
                pass
    with exclusive(tmp_path, None), pytest.raises(StorageError, match=f"pid {os.getpid()}"), exclusive(tmp_path, None):
        pass


def test_an_sqlite_file_is_refused_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link.db").symlink_to("data/trials.db")
    for name in "ab":
        (tmp_path / name).mkdir()
    with holder("exclusive", tmp_path / "a", f"sqlite:///{tmp_path}/data/trials.db") as process:
        for url in ("sqlite:///data/trials.db", "sqlite:///./link.db", "sqlite:///file:data/trials.db?uri=true"):
            with pytest.raises(StorageError, match=whose(process) + "sqlite:///"), exclusive(tmp_path / "b", url):
                pass
        with exclusive(tmp_path / "b", "sqlite:///data/others.db"):
            pass
    with exclusive(tmp_path / "b", "sqlite:///data/trials.db"):
        pass


def test_a_lock_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to("precious")
    (tmp_path / "precious").write_text("thesis")
    with pytest.raises(StorageError, match=r"\.lock cannot be written"), exclusive(tmp_path, None):
        pass
    assert (tmp_path / "precious").read_text() == "thesis"
    (tmp_path / ".lock").unlink()
    with (
        pytest.raises(StorageError, match=r"nowhere/\.t\.db\.lock cannot be written \(No such file"),
        exclusive(tmp_path, f"sqlite:///{tmp_path}/nowhere/t.db"),
    ):
        pass


def test_a_postgresql_study_is_refused_until_its_holder_dies(tmp_path: Path, postgresql: str) -> None:
    url = sa.make_url(postgresql)
    spellings = [
        postgresql,
        postgresql.replace("postgresql:", "postgresql+psycopg2:"),
        url.set(query={"application_name": "mine"}).render_as_string(hide_password=False),
        url.set(host=None, port=None, query={"host": "127.0.0.1", "port": str(url.port)}).render_as_string(False),
    ]
    with holder("study", tmp_path, postgresql, "one") as process:
        for spelt in spellings:
            said = whose(process) + "the study 'one' in "
            with pytest.raises(StorageError, match=said) as e, exclusive_study(spelt, "one"):
                pass
            assert PASSWORD not in str(e.value)
        assert free(postgresql, "two")
        process.kill()
        eventually(lambda: free(postgresql, "one"))


def test_studies_of_one_name_in_two_schemas_are_two(tmp_path: Path, postgresql: str) -> None:
    with sa.create_engine(database_url(postgresql), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    with holder("study", tmp_path, postgresql, "one"):
        assert free(f"{postgresql}?options=-csearch_path%3Dother", "one")
        assert not free(postgresql, "one")


def test_a_study_in_another_database_is_refused_on_this_machine(tmp_path: Path) -> None:
    url = "mysql+pymysql://me:s3cret@host/db"
    with holder("study", tmp_path, url, "one"):
        other = "mysql+pymysql://you:other@host/db?charset=utf8mb4"
        said = re.escape("(on this machine) is using the study 'one' in mysql+pymysql://you:***@host/db?")
        with pytest.raises(StorageError, match=said), exclusive_study(other, "one"):
            pass
        assert free(url, "two") and free("mysql+pymysql://me@elsewhere/db", "one")
    assert free(url, "one")


# -- the command ----------------------------------------------------------------------------------


def held(url: str) -> bool:
    with sa.create_engine(database_url(url), poolclass=sa.NullPool).connect() as connection:
        return bool(connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")))


def test_two_runs_on_one_study_and_no_password_anywhere(workspace: Workspace, postgresql: str) -> None:
    written = ""
    variables = Workspace(workspace.folder, workspace.compiled, {"TUNER_STORAGE": postgresql})
    command = ("tune", "job.toml", "--backend", "model", "--cache", "c.json")
    with variables.start(*command, "--out", "first") as first:
        eventually(lambda: held(postgresql))
        first.send_signal(signal.SIGSTOP)
        second = workspace.run(*command, "--out", "second", "--storage", postgresql)
        assert second.code == 2 and re.match(f"error: {whose(first)}the study 'test::scale ", second.err), second.err
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGINT)
        out, err = first.communicate()
        assert first.returncode == 130 and re.search(r"kept in postgresql://tuner:\*\*\*@127\.0\.0\.1:", err), err
        written += out + err + second.out + second.err
    eventually(lambda: not held(postgresql))
    third = variables.run(*command, "--out", "third", "--json")
    assert third.code == 0, third.err
    exported = variables.run("export", "--format", "t4", "--out", "t4.json")
    assert exported.code == 0, exported.err
    config = variables.run("tune", "job.toml", "--print-config")
    report = variables.run("report", "third", "--json")
    failed = workspace.run("tune", "job.toml", "--debug", "--storage", postgresql.replace("tuner:", "nobody:"))
    assert failed.code != 0
    for run in (third, exported, config, report, failed):
        written += run.out + run.err
    files = [p for p in workspace.folder.rglob("*") if p.is_file()]
    assert any(p.name == "report.html" for p in files)
    assert PASSWORD not in written
    assert not [p for p in files if PASSWORD.encode() in p.read_bytes()]
