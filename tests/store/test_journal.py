from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path

import msgspec
import optuna
import pytest
from msgspec.structs import replace
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tuner.errors import StorageError
from tuner.kernel.problem_data import ProblemData, ShapeData
from tuner.outcome import Failure, FailureClass, Origin, Outcome, Timing
from tuner.search.params import choice, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Tactic
from tuner.store.alone import exclusive
from tuner.store.journal import JOURNAL_NAME, Journal, open_journal
from tuner.store.studies import read_studies
from tuner.store.study_data import StudyIdentity, read_identity

SPACE = Space((powers_of_two("BLOCK", 64, 1024), choice("split", False, True), choice("order", "row", "column")))
PROBLEM = ProblemData("test::scale", {"N": 64}, {"T": "fp32"}, {"factor": 2.0})
LARGE = replace(PROBLEM, dims={"N": 128})
IDENTITY = StudyIdentity(
    PROBLEM,
    "N=64",
    Origin("model", "prediction", "NVIDIA H200", (9, 0), {"tuner": "1.2"}),
    {"source": "abc", "space": "[64, 128]"},
)
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


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return None if request.param == "file" else f"sqlite:///{tmp_path / 'trials.db'}"


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
    assert study.user_attrs["identity"]["problem"] == msgspec.to_builtins(PROBLEM)
    assert study.user_attrs["identity"]["parts"] == {"source": "abc", "space": "[64, 128]"}
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
        study = optuna.load_study(study_name=journal.study_name, storage=storage)
        assert read_identity(study.user_attrs) == IDENTITY


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


def test_a_file_that_is_no_journal_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    for content in (b"thesis", b'{"my": "notes"}', b'{"op_code":0}\nthesis'):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="is no line of an Optuna journal"):
            reopen(tmp_path)
        assert path.read_bytes() == content


def test_a_journal_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / JOURNAL_NAME).symlink_to(tmp_path / "new")
    with pytest.raises(StorageError, match="symbolic link out of"):
        reopen(folder)
    assert not (tmp_path / "new").exists()


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    path.write_bytes(b"not a database, but somebody's notes " * 100)
    with pytest.raises(StorageError) as e:
        reopen(tmp_path, f"sqlite:///{path}")
    assert str(path) in str(e.value) and "\n" not in str(e.value)
    assert path.read_bytes().startswith(b"not a database")


# -- studies side by side --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("kernel", replace(IDENTITY, problem=replace(PROBLEM, kernel="other"))),
        ("problem", replace(IDENTITY, problem=LARGE)),
        ("problem", replace(IDENTITY, problem=replace(PROBLEM, dtypes={"T": "fp16"}))),
        ("attributes", replace(IDENTITY, problem=replace(PROBLEM, attributes={"factor": 2}))),
        ("timed", replace(IDENTITY, problem=replace(PROBLEM, timed=(ShapeData({"N": 64}),)))),
        ("device", replace(IDENTITY, origin=dataclasses.replace(IDENTITY.origin, device="other"))),
        ("backend", replace(IDENTITY, origin=dataclasses.replace(IDENTITY.origin, backend="other"))),
        ("source", replace(IDENTITY, parts={**IDENTITY.parts, "source": "other"})),
        ("space", replace(IDENTITY, parts={**IDENTITY.parts, "space": "other"})),
        ("versions", replace(IDENTITY, origin=dataclasses.replace(IDENTITY.origin, environment={"tuner": "1.3"}))),
    ],
)
def test_what_changed_is_said_and_the_old_study_is_kept(tmp_path: Path, part: str, changed: StudyIdentity) -> None:
    fill(tmp_path)
    other = open_journal(tmp_path, None, changed, SPACE)
    assert len(other) == 0
    same_kernel = part != "kernel"
    assert other.news == (
        f"new study: other {part} than in the trials recorded so far, which are kept" if same_kernel else ""
    )
    assert reopen(tmp_path).trials() == ROWS and reopen(tmp_path).news == ""


def test_a_label_alone_makes_no_other_study(tmp_path: Path) -> None:
    fill(tmp_path)
    assert open_journal(tmp_path, None, replace(IDENTITY, label="64 elements"), SPACE).trials() == ROWS


def test_shapes_and_weights_that_mean_the_same_continue_a_study(tmp_path: Path) -> None:
    def timed(*weights: float) -> StudyIdentity:
        shapes = tuple(ShapeData({"N": n}, weight) for n, weight in zip((64, 128), weights, strict=True))
        return replace(IDENTITY, problem=replace(PROBLEM, timed=shapes))

    open_journal(tmp_path, None, timed(3.0, 1.0), SPACE).add(0, TACTICS[0], OUTCOMES[0])
    assert len(open_journal(tmp_path, None, timed(6.0, 2.0), SPACE)) == 1
    assert len(open_journal(tmp_path, None, timed(1.0, 1.0), SPACE)) == 0


def test_the_study_most_alike_is_compared_with(tmp_path: Path) -> None:
    def identity(source: str, problem: ProblemData) -> StudyIdentity:
        return replace(IDENTITY, problem=problem, parts={"source": source, "space": "[7]"})

    for source, problem in (("old", PROBLEM), ("old", LARGE), ("abc", LARGE)):
        open_journal(tmp_path, None, identity(source, problem), SPACE)
    journal = open_journal(tmp_path, None, identity("abc", PROBLEM), SPACE, beside=[PROBLEM, LARGE])
    assert journal.news.startswith("new study: other source than")


def test_problems_of_one_job_are_no_news(tmp_path: Path) -> None:
    problems = [PROBLEM, LARGE]
    for problem in problems:
        assert open_journal(tmp_path, None, replace(IDENTITY, problem=problem), SPACE, beside=problems).news == ""


def test_studies_of_others_in_the_storage_are_no_news(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    optuna.create_study(storage=url, study_name="somebody's")
    optuna.create_study(storage=url, study_name="odd").set_user_attr("identity", ["not", "ours"])
    assert reopen(tmp_path, url).news == ""
