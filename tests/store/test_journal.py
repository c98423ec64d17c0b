from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tuner.errors import StorageError
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search.params import choice, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Tactic
from tuner.store.journal import JOURNAL_NAME, Journal, exclusive, open_journal
from tuner.store.studies import read_studies

SPACE = Space((powers_of_two("BLOCK", 64, 1024), choice("split", False, True), choice("order", "row", "column")))
IDENTITY = {
    "kernel": "test::scale",
    "problem": "N=64",
    "device": "NVIDIA H200",
    "backend": "model",
    "source": "abc",
    "space": "[64, 128]",
}
TACTICS = [Tactic(c) for c in list(SPACE)[:6]]
OUTCOMES: list[Outcome] = [
    Timing(12.5, "prediction", "model", facts={"waves": 1.5, "registers": 32.0}),
    Failure(FailureClass.COMPILE, "no such thing\nline two: \u20ac"),
    Timing(3.25, "measurement", "median", (3.0, 3.25, 3.5)),
    Timing(3.0, "prediction", "model", verified="unverified: no small size is legal"),
    Failure(FailureClass.CORRECTNESS, "y[3] is 4.0, not 5.0"),
    Timing(2.0, "prediction", "model"),
]
ROWS = list(zip(range(6), TACTICS, OUTCOMES, strict=True))


def reopen(folder: Path, url: str | None = None) -> Journal:
    return open_journal(folder, url, IDENTITY, SPACE)


def fill(folder: Path, url: str | None = None, start: int = 0) -> None:
    journal = reopen(folder, url)
    for number, tactic, outcome in ROWS[start:]:
        journal.add(number, tactic, outcome)


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own, under a user that is not root."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not on PATH")
    with tempfile.TemporaryDirectory() as made:
        folder, user = Path(made), None
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody").pw_name
            shutil.chown(folder, user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]

        def do(*command: str) -> None:
            # Not a pipe: the server would inherit it and keep it open.
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

        do("initdb", "-D", "data", "-U", "tuner", "-A", "trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        do("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://tuner@127.0.0.1:{port}/postgres"
        finally:
            do("pg_ctl", "-D", "data", "-m", "immediate", "stop")


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    if request.param == "postgresql":
        with postgres() as url:
            yield url
    else:
        yield None if request.param == "file" else f"sqlite:///{tmp_path / 'trials.db'}"


# -- what is kept ----------------------------------------------------------------------------------


def test_trials_come_back_as_they_were_in_the_order_of_asking(tmp_path: Path, storage: str | None) -> None:
    journal = reopen(tmp_path, storage)
    for number, tactic, outcome in reversed(ROWS):
        assert tactic not in journal
        journal.add(number, tactic, outcome)
    for found in (journal, reopen(tmp_path, storage)):
        assert found.trials() == ROWS
        assert len(found) == 6 and all(t in found for t in TACTICS)
        assert [found.outcome(t) for t in TACTICS] == OUTCOMES


def test_optuna_itself_opens_the_study(tmp_path: Path, storage: str | None) -> None:
    fill(tmp_path, storage)
    opened = storage or JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL_NAME)))
    (name,) = optuna.get_all_study_names(opened)
    assert name.startswith("test::scale N=64 on NVIDIA H200 by model #")
    study = optuna.load_study(study_name=name, storage=opened)
    assert study.user_attrs["identity"] == IDENTITY
    assert [t.params for t in study.trials] == [t.config for t in TACTICS]
    assert [t.value for t in study.trials] == [12.5, None, 3.25, 3.0, None, 2.0]
    assert study.best_params == TACTICS[5].config
    failed = [TrialState.COMPLETE, TrialState.FAIL]
    assert [t.state for t in study.trials] == [failed[isinstance(o, Failure)] for o in OUTCOMES]
    attributes = [t.user_attrs for t in study.trials]
    assert [(a["number"], a["tactic"]) for a in attributes] == [(n, t.id) for n, t, _ in ROWS]
    assert attributes[0]["timing"]["kind"] == "prediction"
    assert attributes[2]["timing"] == {
        "time_us": 3.25,
        "kind": "measurement",
        "statistic": "median",
        "samples_us": [3.0, 3.25, 3.5],
        "verified": "verified",
        "facts": {},
        "checked": "",
        "lasting": True,
    }
    assert attributes[4]["failure"] == {"kind": "correctness", "message": "y[3] is 4.0, not 5.0", "lasting": True}


# -- what is no verdict ----------------------------------------------------------------------------

LOST = Failure(FailureClass.COMPILE, "the worker process died: SIGKILL", lasting=False)
DOUBTFUL = Timing(3.0, "prediction", "model", verified="unverified: the interpreter took too long", lasting=False)


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL])
def test_what_is_no_verdict_is_kept_for_readers_and_not_taken_for_finished(
    tmp_path: Path, storage: str | None, outcome: Outcome
) -> None:
    journal = reopen(tmp_path, storage)
    journal.add(0, TACTICS[0], outcome)
    assert TACTICS[0] in journal and journal.trials() == [(0, TACTICS[0], outcome)]
    assert read_studies(tmp_path, storage)[0].trials == ((0, TACTICS[0], outcome),)
    again = reopen(tmp_path, storage)
    assert TACTICS[0] not in again and again.trials() == []
    again.add(0, TACTICS[0], OUTCOMES[0])
    assert reopen(tmp_path, storage).trials() == [(0, TACTICS[0], OUTCOMES[0])]
    assert read_studies(tmp_path, storage)[0].trials == ((0, TACTICS[0], OUTCOMES[0]),)


@pytest.mark.parametrize(
    ("outcome", "finished"),
    [
        (Failure(FailureClass.TIMEOUT, "took longer than 60 s"), False),
        (Failure(FailureClass.COMPILE, "the worker process died: SIGKILL"), False),
        (Failure(FailureClass.CORRECTNESS, "y is wrong"), True),
        (Failure(FailureClass.CONSTRAINT, "shares its id"), True),
        (OUTCOMES[0], True),
        (OUTCOMES[3], False),
    ],
)
def test_a_trial_that_was_stored_before_outcomes_said_so_is_judged_by_its_class(
    tmp_path: Path, outcome: Outcome, finished: bool
) -> None:
    path = tmp_path / JOURNAL_NAME
    reopen(tmp_path).add(0, TACTICS[0], outcome)
    text = path.read_text()
    older = text.replace(',"lasting":true', "").replace(',"checked":""', "")
    assert "lasting" in text and "lasting" not in older
    path.write_text(older)
    assert (TACTICS[0] in reopen(tmp_path)) == finished


# -- crashes ---------------------------------------------------------------------------------------


def test_whatever_is_left_of_the_last_two_records_the_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    fill(tmp_path)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[-3], len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = 4 + (length >= ends[-2]) + (length >= ends[-1])
        assert reopen(tmp_path).trials() == ROWS[:kept], length
        if length in (ends[-3], ends[-3] + 1, ends[-2] - 1, ends[-2], ends[-1] - 1):
            fill(tmp_path, start=kept)
            assert reopen(tmp_path).trials() == ROWS


def test_a_run_killed_while_it_starts_its_study_starts_it_again(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    fill(tmp_path)
    whole = path.read_bytes()
    for length in range(whole.index(b"\n", whole.index(b"\n") + 1)):
        path.write_bytes(whole[:length])
        journal = reopen(tmp_path)
        assert len(journal) == 0 and journal.news == ""
        storage = JournalStorage(JournalFileBackend(str(path)))
        assert optuna.load_study(study_name=journal.study_name, storage=storage).user_attrs["identity"] == IDENTITY


def test_locks_that_a_killed_process_left_block_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in (".lock", f".{JOURNAL_NAME}.lock", f"{JOURNAL_NAME}.lock"):
        (tmp_path / name).touch()
    with exclusive(tmp_path, None):
        reopen(tmp_path).add(6, Tactic(list(SPACE)[6]), OUTCOMES[0])
    assert len(reopen(tmp_path)) == 7


def test_a_full_disk_loses_only_the_trial_being_written(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    fill(tmp_path)
    more = Tactic(list(SPACE)[6])
    journal, before = reopen(tmp_path), path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, limits[1]))
    try:
        with pytest.raises(StorageError) as e:
            journal.add(6, more, OUTCOMES[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(e.value) == f"{path} cannot be used: File too large; give room and write access, then run again"
    assert path.read_bytes().startswith(before)
    again = reopen(tmp_path)
    assert again.trials() == ROWS
    again.add(6, more, OUTCOMES[0])
    assert len(reopen(tmp_path)) == 7


# -- damage ----------------------------------------------------------------------------------------


def edited(record: bytes, change: dict[str, object]) -> bytes:
    """A journal line of a trial with other user attributes or parameters."""
    data = json.loads(record)
    data["user_attrs"].update(change)
    return json.dumps(data).encode() + b"\n"


@pytest.mark.parametrize("at", [0, 3, -1])
@pytest.mark.parametrize("line", [b"\x00\xff garbage\n", b'{"a": 1}\n', b"[]\n", b"7\n", b'{"op_code": 9999}\n', b"\n"])
def test_a_foreign_line_is_refused_and_left_alone(tmp_path: Path, line: bytes, at: int) -> None:
    path = tmp_path / JOURNAL_NAME
    fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    at %= len(lines) + 1
    content = b"".join([*lines[:at], line, *lines[at:]])
    path.write_bytes(content)
    with pytest.raises(StorageError) as e:
        reopen(tmp_path)
    message = str(e.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "move it away" in message or "damaged" in message
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tactic": 17}, "17 is not the id of"),
        ({"number": "first"}, "number"),
        ({"timing": None}, "neither a timing nor a failure"),
        ({"timing": {"time_us": "fast", "kind": "prediction", "statistic": "model"}}, "time_us"),
        ({"timing": {"time_us": 1.0, "kind": "guess", "statistic": "model"}}, "guess"),
        ({"failure": {"kind": "bad luck", "message": ""}}, "bad luck"),
    ],
)
def test_a_trial_that_is_not_ours_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / JOURNAL_NAME
    fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    content = b"".join([*lines[:-1], edited(lines[-1], change)])
    path.write_bytes(content)
    with pytest.raises(StorageError, match="trial 5 is not one of tuner's") as e:
        reopen(tmp_path)
    assert said in str(e.value)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    path.write_bytes(b"not a database, but somebody's notes " * 100)
    with pytest.raises(StorageError) as e:
        reopen(tmp_path, f"sqlite:///{path}")
    assert str(path) in str(e.value) and "\n" not in str(e.value)
    assert path.read_bytes().startswith(b"not a database")


def test_an_unreachable_storage_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    with pytest.raises(StorageError) as e:
        reopen(tmp_path, "postgresql+psycopg2://me:hunter2@127.0.0.1:1/trials")
    assert "me:***@127.0.0.1:1/trials" in str(e.value) and "hunter2" not in str(e.value)


# -- studies side by side --------------------------------------------------------------------------


@pytest.mark.parametrize("part", IDENTITY)
def test_what_changed_is_said_and_the_old_study_is_kept(tmp_path: Path, part: str) -> None:
    fill(tmp_path)
    other = open_journal(tmp_path, None, {**IDENTITY, part: "other"}, SPACE)
    assert len(other) == 0
    same_kernel = part != "kernel"
    assert other.news == (
        f"new study: other {part} than in the trials recorded so far, which are kept" if same_kernel else ""
    )
    assert reopen(tmp_path).trials() == ROWS and reopen(tmp_path).news == ""


def test_the_study_most_alike_is_compared_with(tmp_path: Path) -> None:
    for source, problem in (("old", "N=64"), ("old", "N=128"), ("abc", "N=128")):
        open_journal(tmp_path, None, {**IDENTITY, "source": source, "problem": problem, "space": "[7]"}, SPACE)
    journal = open_journal(tmp_path, None, {**IDENTITY, "space": "[7]"}, SPACE, beside=["N=64", "N=128"])
    assert journal.news.startswith("new study: other source than")


def test_problems_of_one_job_are_no_news(tmp_path: Path) -> None:
    problems = ["N=64", "N=128"]
    for problem in problems:
        assert open_journal(tmp_path, None, {**IDENTITY, "problem": problem}, SPACE, beside=problems).news == ""


def test_studies_of_others_in_the_storage_are_no_news(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    optuna.create_study(storage=url, study_name="somebody's")
    optuna.create_study(storage=url, study_name="odd").set_user_attr("identity", ["not", "ours"])
    assert reopen(tmp_path, url).news == ""


# -- one run at a time -----------------------------------------------------------------------------


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with exclusive(tmp_path, None):
        with pytest.raises(StorageError, match="another run is using") as e, exclusive(tmp_path, None):
            pass
        assert str(tmp_path) in str(e.value)
    with exclusive(tmp_path, None):
        pass


def test_a_second_run_on_the_storage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    url = "postgresql://me:hunter2@host/trials"
    with (
        exclusive(tmp_path / "a", url),
        pytest.raises(StorageError, match=r"another run is using postgresql://me:\*\*\*@host/trials"),
        exclusive(tmp_path / "b", url),
    ):
        pass
    with exclusive(tmp_path / "b", url):
        pass
