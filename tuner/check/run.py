"""Check the problems of some configs against a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.cache import Cache
from tuner.check.baseline import Baseline, Record
from tuner.check.compare import compare_tactic
from tuner.check.lookup import served
from tuner.check.subject import Subject
from tuner.check.today import Compiled, compile_today, target_of
from tuner.check.verdict import Check
from tuner.compile.store import Store
from tuner.config import Config as Job
from tuner.tactic import Tactic


@dataclass(frozen=True)
class Setting:
    """What to check against.

    Attributes:
        path, baseline: the baseline.
        cache_path, cache: where lookups go.
        store: keeps compiled tactics.
        strict: whether a winner that is not served because of an edit is a regression.
    """

    path: Path
    baseline: Baseline
    cache_path: Path
    cache: Cache
    store: Store
    strict: bool = False


def check_jobs(jobs: Sequence[Job], setting: Setting) -> Iterator[Check]:
    """Yield the checks of every problem of the configs, one record after the other."""
    for subject in subjects(jobs):
        records = [r for r in setting.baseline.records if r.of(subject.problem)]
        if not records:
            message = f"{setting.path} holds nothing for this problem; record it with --update"
            yield subject.check("recorded", "inconclusive", message)
        for record in records:
            yield from check_record(subject, record, setting)


def subjects(jobs: Sequence[Job]) -> Iterator[Subject]:
    """The problems of some configs."""
    for job in jobs:
        for problem in job.problems:
            yield Subject(job, problem)


def check_record(subject: Subject, record: Record, setting: Setting) -> Iterator[Check]:
    """Yield the checks of one record."""
    for accepted in record.accepted:
        message = f"accepted on {accepted.date:%Y-%m-%d}: {accepted.reason} ({accepted.rule})"
        yield subject.check("accepted", "pass", message, accepted.baseline, accepted.now)
    recorded = record.tactics()
    target = target_of(record.device, record.capability)
    today = compile_today(subject.problem, [Tactic(t.config) for _, t in recorded], target, subject.job, setting.store)
    for role, tactic in recorded:
        found = today[Tactic(tactic.config)]
        yield from compare_tactic(subject, role, tactic, found, setting.baseline.margins)
    if isinstance(today[Tactic(record.winner.config)], Compiled):
        yield served(subject, record, setting.cache_path, setting.cache, setting.strict)
