"""Write what today's code is into a baseline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tuner.backends.table import recorded_names
from tuner.check.baseline import (
    Accepted,
    Record,
    RecordedTactic,
    ServedTime,
    WinnerCode,
    key_of,
    ptx_name,
    write_baseline,
)
from tuner.check.compare import compare_tactic
from tuner.check.fingerprint import grid_of, integers_of
from tuner.check.recompile import Recompiled, compile_today, target_of
from tuner.check.run import measured
from tuner.check.setting import Setting
from tuner.check.verdict import Check, Subject
from tuner.errors import ConfigError, NoValidTacticError
from tuner.gpu.catalog import find_device
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Failure
from tuner.search.tactic import Tactic
from tuner.store.cache import Cache, update
from tuner.store.entry import Entry, proofs
from tuner.tuning.config import Job


@dataclass(frozen=True)
class _RecordPlace:
    """The GPU that a record is for: its name and compute capability."""

    device: str
    capability: tuple[int, int]

    @classmethod
    def of(cls, setting: Setting, job: Job) -> _RecordPlace:
        device = find_device(job.target) if setting.gpu is None else setting.gpu.info
        return cls(device.name, device.capability)


@dataclass
class _Update:
    """What an update found.

    Attributes:
        records: new ones, by key.
        codes: PTX of winners by file name, relative to the baseline's folder.
        moved: cache entries under the source of today.
        refused: regressions that nobody accepted.
        notes: what the user should know.
    """

    records: dict[tuple[str, ...], Record] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    moved: list[Entry] = field(default_factory=list)
    refused: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def update_baseline(
    jobs: Sequence[tuple[Path, Job]], setting: Setting, reason: str | None
) -> tuple[list[Check], list[str]]:
    """Record the winner and the default of every problem of some configs; other records stay as they are.

    The winner is the cache's, or the recorded one where the cache has none for today's source, or only a prediction
    where a measurement was recorded. Records are for the
    GPU at hand, or for each config's target where there is none. Code that is worse than what the baseline holds is
    only recorded with a reason, which is kept in the file.

    Args:
        jobs: the configs and their files.
        setting: the baseline and the cache.
        reason: why to accept what is worse; None: refuse it.

    Returns:
        The regressions that nobody accepted, in which case nothing was written; and what the user should know.

    Raises:
        ConfigError: when there is no winner to record.
        NoValidTacticError: when the winner does not compile or is wrong.
        StorageError: when a file cannot be written.
    """
    known = {r.key: r for r in setting.baseline.records}
    done = _Update()
    for config, job in jobs:
        here = _RecordPlace.of(setting, job)
        for problem in job.problems:
            old = known.get(key_of(problem, here.device))
            _record(Subject(job, problem), config, here, old, setting, reason, done)
    if not done.refused:
        if done.moved:  # first: once a record names the new source, nothing leads to the old entry
            update(setting.cache_path, done.moved, by_date=True)
        records = tuple((known | done.records).values())
        after = msgspec.structs.replace(setting.baseline, records=records)
        write_baseline(setting.path, after, done.codes, setting.baseline)
        return [], done.notes
    return done.refused, ["nothing was written; mend what is worse, or accept it with --accept REASON"]


def _record(
    subject: Subject,
    config: Path,
    here: _RecordPlace,
    old: Record | None,
    setting: Setting,
    reason: str | None,
    done: _Update,
) -> None:
    """Add the record of one problem to an update, or why it is refused."""
    problem, source = subject.problem, kernel_hash(subject.problem.kernel)
    entry = _entry(setting.cache, problem, source, here, old)
    previous = _entry(setting.cache, problem, old.source, here, old) if old is not None else None
    tactic = Tactic(entry.winner.config) if entry else Tactic(old.winner.config) if old else None
    if tactic is None:
        raise ConfigError(
            f"{problem}: {setting.cache_path} holds no winner for {here.device}; "
            f"run tuner tune {config} first, or name another cache with --cache"
        )
    target = target_of(here.device, here.capability)
    tactics, proven = [tactic, problem.kernel.default_tactic], proofs(setting.cache.entries, problem.kernel)
    today = compile_today(problem, tactics, target, subject.job, setting.store, proven)
    winner, default = today[tactic], today[problem.kernel.default_tactic]
    if isinstance(winner, Failure):
        raise NoValidTacticError(f"{problem}: the winner ({tactic}) is not recorded: {winner.headline}")
    if isinstance(default, Failure) and not default.lasting:
        raise NoValidTacticError(f"{problem}: the default could not be judged: {default.headline}; run again")
    worse = list(_worse(subject, old, today, setting)) if old else []
    if old and entry and entry.kind == "prediction":
        worse += _slower_winner(subject, old, tactic, winner, setting)
    if worse and reason is None:
        done.refused += worse
        return
    if entry is None:
        unchanged = old is not None and winner.fingerprint == old.winner.fingerprint
        if previous is not None and previous.winner.id == tactic.id and unchanged:
            entry = msgspec.structs.replace(previous, source=source)
            done.moved.append(entry)
            done.notes.append(f"{problem}: code unchanged; its entry in {setting.cache_path} moves to the new source")
        else:
            kind = "measured " if _measured(old) else ""
            done.notes.append(
                f"{problem}: the {kind}winner stays, which {setting.cache_path} does not serve for this source; "
                f"run tuner tune {config}"
            )
    elif old is not None and tactic.id != old.winner.id:
        done.notes.append(f"{problem}: the winner is now ({tactic}), was ({Tactic(old.winner.config)})")
    now = datetime.now(UTC).replace(microsecond=0)
    accepted = [Accepted(c.rule, c.baseline, c.now, reason, now) for c in worse if reason is not None]
    data = data_of(problem)
    codes = []
    for artifact, launch in zip(winner.code.steps, winner.launches, strict=True):
        ptx = ptx_name(setting.path, problem.kernel.name, artifact.ptx)
        done.codes[ptx] = artifact.ptx
        grid, integers = grid_of(launch), integers_of(launch)
        codes.append(WinnerCode(ptx, artifact.entry, artifact.block, artifact.shared_bytes, grid, integers))
    done.records[key_of(problem, here.device)] = Record(
        kernel=data.kernel,
        dims=data.dims,
        dtypes=data.dtypes,
        attributes=data.attributes,
        config=os.path.relpath(config, setting.path.parent),
        device=here.device,
        capability=here.capability,
        source=source,
        winner=_recorded(tactic, winner),
        default=None if isinstance(default, Failure) else _recorded(problem.kernel.default_tactic, default),
        served=ServedTime(entry.backend, entry.kind, entry.winner.time_us) if entry else old.served if old else None,
        code=codes[0],
        further=tuple(codes[1:]),
        accepted=(*(old.accepted if old else ()), *dict.fromkeys(accepted)),
        date=now,
    )


def _entry(cache: Cache, problem: Problem, source: str, here: _RecordPlace, old: Record | None) -> Entry | None:
    """What the cache holds for a problem and source on a device; no prediction where the record was measured."""
    for backend in recorded_names():  # a measurement before a prediction
        hit = cache.lookup(problem, source, backend=backend, device=here.device)
        if hit.tier == "exact" and hit.entry is not None and not (_measured(old) and hit.entry.kind == "prediction"):
            return hit.entry
    return None


def _measured(old: Record | None) -> bool:
    return old is not None and old.origin is not None and old.origin.kind == "measurement"


def _worse(
    subject: Subject, old: Record, today: Mapping[Tactic, Recompiled | Failure], setting: Setting
) -> Iterator[Check]:
    """The regressions of the recorded tactics that stay."""
    for role, recorded in old.tactics():
        found = today.get(Tactic(recorded.config))
        if found is not None:
            checks = compare_tactic(subject, role, recorded, found, setting.baseline.margins)
            yield from (c for c in checks if c.verdict == "regression")
    winner = today.get(Tactic(old.winner.config))
    if setting.gpu is not None and isinstance(winner, Recompiled):
        check = measured(subject, old, winner, setting)
        if check.verdict == "regression":
            yield check


def _slower_winner(
    subject: Subject, old: Record, tactic: Tactic, today: Recompiled, setting: Setting
) -> Iterator[Check]:
    """Another winner that is predicted to be slower than the recorded one was; times of two days cannot be compared."""
    before, now = old.winner.facts.predicted_us, today.facts.predicted_us
    if tactic.id != old.winner.id and now > before * (1 + setting.baseline.margins.predicted_time):
        message = (
            f"the new winner ({tactic}) is predicted to take {now:g} us, "
            f"the recorded one ({Tactic(old.winner.config)}) {before:g} us; run tuner tune with more trials"
        )
        yield subject.check("predicted_time", "regression", message, before, now, "winner")


def _recorded(tactic: Tactic, today: Recompiled) -> RecordedTactic:
    return RecordedTactic(
        tactic.id, tactic.config, today.fingerprint, today.code.compilers, today.verified, today.facts
    )
