"""Check the problems of some configs against a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tuner.backends.select import BackendChoice
from tuner.check.baseline import Record, read_ptx
from tuner.check.compare import compare_tactic
from tuner.check.lookup import served
from tuner.check.recompile import Recompiled, compile_today, target_of
from tuner.check.setting import Setting
from tuner.check.verdict import Check, CheckVerdict, Subject
from tuner.errors import StorageError
from tuner.search.tactic import Tactic
from tuner.store.entry import proofs
from tuner.tuning.config import Job


def check_jobs(jobs: Sequence[tuple[Path, Job]], setting: Setting) -> Iterator[Check]:
    """Yield the checks of every problem of the configs, one record after the other.

    Args:
        jobs: the configs and their files.
        setting: what to check against.
    """
    for config, job in jobs:
        for problem in job.problems:
            subject = Subject(job, problem)
            records = [r for r in setting.baseline.records if r.of(problem)]
            if not records:
                message = f"{setting.path} holds nothing for this problem; record it with --update"
                yield subject.check("recorded", "inconclusive", message)
            for record in records:
                yield from check_record(subject, record, setting)
        for record in setting.baseline.records:
            named = (setting.path.parent / record.config).resolve() == config.resolve()
            if named and not any(map(record.of, job.problems)):
                message = f"{config} no longer holds the recorded problem; restore it, or remove its record"
                yield Check(record.problem, record.label, "recorded", "regression", record.winner.id, None, message)


def check_record(subject: Subject, record: Record, setting: Setting) -> Iterator[Check]:
    """Yield the checks of one record: without a GPU first, then with one."""
    for accepted in record.accepted:
        message = f"accepted on {accepted.date:%Y-%m-%d}: {accepted.reason} ({accepted.rule})"
        yield subject.check("accepted", "pass", message, accepted.baseline, accepted.now)
    try:
        read_ptx(setting.path, record)
    except StorageError as e:  # said now, not on the day on which a GPU has to run it
        yield subject.check("recorded", "inconclusive", str(e), record.code.ptx)
    recorded = record.tactics()
    target = target_of(record.device, record.capability)
    tactics = [Tactic(t.config) for _, t in recorded]
    proven = proofs(setting.cache.entries, subject.problem.kernel)
    today = compile_today(subject.problem, tactics, target, subject.job, setting.store, proven)
    for role, tactic in recorded:
        found = today[Tactic(tactic.config)]
        yield from compare_tactic(subject, role, tactic, found, setting.baseline.margins)
    winner = today[Tactic(record.winner.config)]
    if not isinstance(winner, Recompiled):
        return
    yield served(subject, record, setting.cache_path, setting.cache, setting.strict)
    if setting.gpu is not None:
        yield measured(subject, record, winner, setting)
    if setting.retune:
        from tuner.check.retune import retuned

        measuring = setting.gpu is not None and setting.gpu.info.name == record.device
        choice = BackendChoice.of("cuda" if measuring else "model")
        margins = setting.baseline.margins
        margin = margins.time if measuring else margins.predicted_time
        yield retuned(subject, record, choice, setting.retune, margin, setting.store)


def measured(subject: Subject, record: Record, winner: Recompiled, setting: Setting) -> Check:
    """The `time` rule on the GPU at hand, where it can be applied."""
    from tuner.check.time_rule import timed

    gpu = setting.gpu
    assert gpu is not None
    if gpu.info.name != record.device:
        message = f"recorded on {record.device}, this is a {gpu.info.name}: compared on compile facts only"
        verdict: CheckVerdict = "inconclusive" if setting.required else "pass"
        return subject.check("time", verdict, message, record.device, gpu.info.name)
    if winner.fingerprint == record.winner.fingerprint:
        return subject.check("time", "pass", "code unchanged, so there is nothing to measure")
    try:
        ptx = read_ptx(setting.path, record)
    except StorageError as e:
        return subject.check("time", "inconclusive", str(e))
    return timed(subject, record, ptx, winner, gpu)
