"""Reading what there is to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recorded import DEFAULT, KERNEL, PROBLEM, made_up, write_results

from tuner.errors import StorageError
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, FailureClass
from tuner.report.jobs import read_results
from tuner.store.cache import update
from tuner.store.entry import entry_of
from tuner.store.results import Trial, write_summary
from tuner.store.trials import write_trials

SMALL = Problem.of(KERNEL, {"M": 1, "N": 4096, "K": 4096}, {"T": "fp16"})


def edit_summary(folder: Path, **changes: Any) -> None:
    """Change or (None) remove keys of the first job of a summary."""
    path = folder / "summary.json"
    document = json.loads(path.read_text())
    job = document["jobs"][0]
    document["jobs"][0] = {k: v for k, v in {**job, **changes}.items() if v is not None}
    path.write_text(json.dumps(document))


def test_a_results_folder_is_read_with_its_trials_and_finalists(tmp_path: Path) -> None:
    trials = made_up(60)
    result = write_results(tmp_path, trials)
    (job,) = read_results(tmp_path)
    assert (job.title, job.kind, job.device) == (str(PROBLEM), "measurement", "NVIDIA H200")
    assert job.winner is not None and job.winner.id == result.winner.id
    assert job.speedup == pytest.approx(result.speedup)
    times = [f.time_us for f in job.finalists]
    assert times == sorted(t.time_us for t in result.confirmed.values())
    assert DEFAULT.id in {f.id for f in job.finalists}
    assert job.finalists[0].samples_us == result.confirmed[result.winner].samples_us
    assert job.ties == {result.ties[0].id}
    assert (job.bytes, job.flops) == (PROBLEM.bytes(), PROBLEM.flops())
    assert job.trials is not None and set(job.trials.params) == set(DEFAULT.config)
    assert len(job.trials) == 60
    assert len(job.trials.failed) == sum(isinstance(t.outcome, Failure) for t in trials) > 0


def test_a_record_that_says_less_or_more_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_results(tmp_path, made_up(20))
    edit_summary(tmp_path, bytes=None, flops=None, finalists=None, stopped=None, novelty={"a": 1})
    (tmp_path / "trials.csv").unlink()
    (job,) = read_results(tmp_path)
    assert (job.bytes, job.finalists, job.trials) == (0, (), None)


def test_a_problem_without_a_valid_tactic_is_read_from_its_trials(tmp_path: Path) -> None:
    failures = [Trial(t.number, t.tactic, Failure(FailureClass.COMPILE, "no")) for t in made_up(5)]
    write_trials(tmp_path / "trials.csv", {PROBLEM: failures})
    write_summary(tmp_path / "summary.json", [], tmp_path / "c.json", tmp_path)
    (job,) = read_results(tmp_path)
    assert (job.title, job.winner, job.kind) == (str(PROBLEM), None, "unknown")
    assert job.trials is not None and set(job.trials.params) == set(DEFAULT.config)


def test_an_interrupted_job_shows_the_problems_it_finished_and_those_it_began(tmp_path: Path) -> None:
    trials = made_up(20)
    write_results(tmp_path, trials)
    began = [Trial(t.number, t.tactic, Failure(FailureClass.TIMEOUT, "slow")) for t in trials[:3]]
    write_trials(tmp_path / "trials.csv", {PROBLEM: trials, SMALL: began})
    finished, unfinished = read_results(tmp_path)
    assert finished.trials is not None and len(finished.trials) == 20
    assert (unfinished.title, unfinished.winner) == (str(SMALL), None)
    assert unfinished.trials is not None and unfinished.trials.params == tuple(DEFAULT.config)


def test_a_cache_is_read_entry_by_entry(tmp_path: Path) -> None:
    result = write_results(tmp_path, made_up(20))
    entry = entry_of(
        PROBLEM,
        "source",
        origin=result.origin,
        confirmed=result.confirmed,
        winner=result.winner,
        default=DEFAULT,
        ties=result.ties,
        trials=20,
    )
    update(tmp_path / "tactics.json", [entry])
    (job,) = read_results(tmp_path / "tactics.json")
    assert job.winner is not None and job.winner.samples is not None and job.trials is None
    assert {f.id for f in job.finalists} == {result.winner.id, DEFAULT.id, result.ties[0].id}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "summary.json").unlink(), "holds no summary.json; name a folder that tuner tune left"),
        (lambda f: (f / "summary.json").write_text('{"jobs": ['), r"summary.json is damaged: .*; run the job again"),
        (lambda f: edit_summary(f, kind="guess"), r"summary.json is damaged: .*kind"),
        (
            lambda f: (f / "trials.csv").write_text("a,b\n1,2\n"),
            "trials.csv cannot be read: it has no column 'problem'",
        ),
        (lambda f: (f / "trials.csv").write_text(""), "trials.csv cannot be read: .*; run the job again"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_and_a_remedy(tmp_path: Path, damage: Any, message: str) -> None:
    write_results(tmp_path, made_up(10))
    damage(tmp_path)
    with pytest.raises(StorageError, match=message):
        read_results(tmp_path)


def test_what_does_not_exist_or_is_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere does not exist; name the results folder"):
        read_results(tmp_path / "nowhere")
    update(tmp_path / "tactics.json", [])
    with pytest.raises(StorageError, match="holds no entries; fill it with: tuner tune CONFIG"):
        read_results(tmp_path / "tactics.json")
    write_trials(tmp_path / "trials.csv", {})
    write_summary(tmp_path / "summary.json", [], tmp_path / "c.json", tmp_path)
    with pytest.raises(StorageError, match="holds no finished trial"):
        read_results(tmp_path)
