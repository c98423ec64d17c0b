"""Read what there is to report: the folder of a tuning job, or a tactic cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuner.errors import StorageError
from tuner.outcome import Kind, Origin
from tuner.store.cache import Cache
from tuner.store.columns import column_of
from tuner.store.entry import Entry, TimedTactic
from tuner.store.results import CERTAINTY, STOPPED, FinishedJob, TacticRecord, read_summary
from tuner.store.trials import TRIAL_COLUMNS, ProblemTrials, read_trials

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Trials:
    """The trials of one problem.

    Attributes:
        params: the columns of the tuned parameters.
        frame: a row per trial in the order of asking. Columns: `TRIAL_COLUMNS`, one per parameter, one per fact.
            `time_us` is NaN for a failed trial.
    """

    params: tuple[str, ...]
    frame: pd.DataFrame

    @property
    def timed(self) -> pd.DataFrame:
        """The trials that have a time."""
        return self.frame[self.frame["time_us"].notna()]

    @property
    def failed(self) -> pd.DataFrame:
        """The trials that have none."""
        return self.frame[self.frame["time_us"].isna()]

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class TunedProblem:
    """One tuned problem.

    Attributes:
        id: `ProblemData.id`, the same for the same problem; "" in an older record.
        kernel, problem: plugin id, and the problem's label, for people.
        origin: where its times come from; None where the record does not say.
        winner: None where no tactic was valid.
        default: the kernel's default; without a time where it failed.
        finalists: confirmed side by side, the fastest first.
        ties: ids of those that cannot be told from the best, the winner excluded.
        trials: None where a record has only the outcome.
        bytes, flops: what the problem must move and compute; 0 where that is not recorded, or nothing.
        dtypes: data types of its inputs; none where they are not recorded.
        exhausted: whether every tactic of the space was tried.
        made: how the record was made and where it lies, to be shown with the environment.
        folder: where the files that `Code` names lie.
    """

    id: str
    kernel: str
    problem: str
    origin: Origin | None
    winner: TacticRecord | None
    default: TacticRecord | None
    finalists: tuple[TacticRecord, ...]
    ties: frozenset[int]
    trials: Trials | None
    bytes: int
    flops: int
    dtypes: tuple[str, ...]
    exhausted: bool
    made: Mapping[str, str]
    folder: Path

    @property
    def title(self) -> str:
        """Kernel and problem, for people."""
        return f"{self.kernel} {self.problem}"

    @property
    def backend(self) -> str:
        """Who says how long a tactic takes."""
        return "unknown" if self.origin is None else self.origin.backend

    @property
    def device(self) -> str:
        """The GPU that the times are for."""
        return "unknown device" if self.origin is None else self.origin.device

    @property
    def kind(self) -> Kind | Literal["unknown"]:
        """What kind of number the times are."""
        if self.origin is not None:
            return self.origin.kind
        kinds: list[Kind] = [] if self.trials is None else self.trials.frame["kind"].dropna().to_list()
        return kinds[0] if kinds else "unknown"

    @property
    def environment(self) -> dict[str, str]:
        """Versions and settings that the times depend on, and how and where the record was made."""
        return {**({} if self.origin is None else self.origin.environment), **self.made}

    @property
    def speedup(self) -> float | None:
        """The default's time over the winner's; None where either is missing."""
        if self.winner is None or self.default is None or not self.winner.time_us or not self.default.time_us:
            return None
        return self.default.time_us / self.winner.time_us

    @property
    def timed_word(self) -> str:
        """What was done to get a time: "predicted" or "measured"."""
        return {"prediction": "predicted", "measurement": "measured"}.get(self.kind, "not timed")

    def confirmed(self, tactic: TacticRecord | None) -> TacticRecord | None:
        """What is known of a tactic from the confirmation, else what the record says of it."""
        return next((f for f in self.finalists if tactic is not None and f.id == tactic.id), tactic)


def read_results(path: Path) -> list[TunedProblem]:
    """Read a results folder, or a cache file.

    Raises:
        StorageError: when there is neither, or it is damaged.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise StorageError(f"{path} does not exist; name the results folder of a job, or a tactic cache")
    jobs = [_from_entry(e, path) for e in Cache.open(path).entries]
    if not jobs:
        raise StorageError(f"{path} holds no entries; fill it with: tuner tune CONFIG")
    return jobs


def _read_folder(folder: Path) -> list[TunedProblem]:
    jobs, left = read_summary(folder).jobs, read_trials(folder)
    found = []
    for job in jobs:
        own = next((t for t in left if _is_of(t, job)), None)
        left = [t for t in left if t is not own]
        found.append(_from_summary(job, own, folder))
    found += [_from_trials(trials, folder) for trials in left]
    if not found:
        raise StorageError(f"{folder} holds no finished trial; run its job again")
    return found


def _is_of(trials: ProblemTrials, job: FinishedJob) -> bool:
    """Whether trials are those of a job; where one of the files is an older one, its title is all that says so."""
    if job.data is None or not trials.id:
        return trials.title == f"{job.kernel} {job.problem}"
    return trials.id == job.data.id


def _from_summary(job: FinishedJob, own: ProblemTrials | None, folder: Path) -> TunedProblem:
    trials = None if own is None else _trials(own.frame, tuple(job.winner.config))
    made = {
        "trials": f"{job.trials}, {STOPPED.get(job.stopped, job.stopped or 'unknown end')}",
        **({"how sure": CERTAINTY[job.stopped]} if job.stopped in CERTAINTY else {}),
        "resumed from earlier runs": str(job.resumed),
        "backend": job.backend,
        "recorded in": str(folder),
    }
    return TunedProblem(
        id="" if job.data is None else job.data.id,
        kernel=job.kernel,
        problem=job.problem,
        origin=job.origin,
        winner=job.winner,
        default=job.default,
        finalists=job.finalists,
        ties=frozenset(t.id for t in job.ties),
        trials=trials,
        bytes=job.bytes,
        flops=job.flops,
        dtypes=job.dtypes,
        exhausted=job.stopped == "space exhausted",
        made=made,
        folder=folder,
    )


def _from_trials(trials: ProblemTrials, folder: Path) -> TunedProblem:
    """A problem that was tried and not finished, or for which nothing was valid."""
    frame = trials.frame
    kernel, _, problem = trials.title.partition(" ")
    # The parameters are the columns that every row fills: a failed trial has no facts.
    complete: Sequence[Any] = [c for c in frame if c not in TRIAL_COLUMNS and frame[c].notna().all()]
    return TunedProblem(
        id=trials.id,
        kernel=kernel,
        problem=problem,
        origin=None,
        winner=None,
        default=None,
        finalists=(),
        ties=frozenset(),
        trials=_trials(frame, tuple(map(str, complete))),
        bytes=0,
        flops=0,
        dtypes=(),
        exhausted=False,
        made={"trials": str(len(frame)), "recorded in": str(folder)},
        folder=folder,
    )


def _from_entry(entry: Entry, path: Path) -> TunedProblem:
    def timed(tactic: TimedTactic, verified: str = "") -> TacticRecord:
        return TacticRecord(
            tactic.id, tactic.config, tactic.time_us, tactic.statistic, verified, samples=tactic.samples
        )

    winner = timed(entry.winner, entry.verified)
    default = None if entry.default is None else timed(entry.default)
    ties = [timed(t) for t in entry.ties]
    known = {t.id: t for t in (*ties, *([default] if default else []), winner)}
    return TunedProblem(
        id=entry.problem.id,
        kernel=entry.kernel,
        problem=entry.label,
        origin=entry.origin,
        winner=winner,
        default=default,
        finalists=tuple(sorted(known.values(), key=lambda t: t.time_us or 0.0)),
        ties=frozenset(t.id for t in ties),
        trials=None,
        bytes=0,
        flops=0,
        dtypes=(),
        exhausted=False,
        made={
            "trials": str(entry.trials),
            "date": f"{entry.date:%Y-%m-%d %H:%M} UTC",
            "kernel source": entry.source[:16],
            "backend": entry.backend,
            "recorded in": str(path),
        },
        folder=path.parent,
    )


def _trials(frame: pd.DataFrame, params: tuple[str, ...]) -> Trials:
    return Trials(tuple(c for c in (column_of(p, frame.columns) for p in params) if c in frame), frame)
