"""Read what there is to report: the folder of a tuning job, or a tactic cache."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tuner.errors import StorageError
from tuner.outcome import Kind
from tuner.store.cache import Cache
from tuner.store.columns import column_of
from tuner.store.entry import Entry, TimedTactic
from tuner.store.results import STOPPED, SUMMARY, TRIAL_COLUMNS, TRIALS, JobData, Summary, TacticRecord

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
        kernel, problem: plugin id, and the problem's label.
        backend, kind, device: who says how long a tactic takes, what kind of number that is, and for which GPU.
        winner: None where no tactic was valid.
        default: the kernel's default; without a time where it failed.
        finalists: confirmed side by side, the fastest first.
        ties: ids of those that cannot be told from the best, the winner excluded.
        trials: None where a record has only the outcome.
        bytes, flops: what the problem must move and compute; 0 where that is not recorded, or nothing.
        exhausted: whether every tactic of the space was tried.
        environment: versions and settings that the times depend on, and where the record comes from.
        folder: where the files that `Code` names lie.
    """

    kernel: str
    problem: str
    backend: str
    kind: Kind | Literal["unknown"]
    device: str
    winner: TacticRecord | None
    default: TacticRecord | None
    finalists: tuple[TacticRecord, ...]
    ties: frozenset[int]
    trials: Trials | None
    bytes: int
    flops: int
    exhausted: bool
    environment: Mapping[str, str]
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.kernel} {self.problem}"

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
    path = folder / SUMMARY
    try:
        jobs = msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=Summary).jobs
    except FileNotFoundError:
        raise StorageError(f"{folder} holds no {SUMMARY}; name a folder that tuner tune left (--out)") from None
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; give read access") from e
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise StorageError(f"{path} is damaged: {e}; run the job again to write it anew") from e
    frames = _read_trials(folder / TRIALS)
    found = [_from_summary(job, frames.pop(f"{job.kernel} {job.problem}", None), folder) for job in jobs]
    found += [_from_trials(title, frame, folder) for title, frame in frames.items()]
    if not found:
        raise StorageError(f"{folder} holds no finished trial; run its job again")
    return found


def _read_trials(path: Path) -> dict[str, pd.DataFrame]:
    """The rows of each problem, without columns that none of them fills."""
    import pandas as pd

    if not path.exists():
        return {}
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
        missing = [c for c in TRIAL_COLUMNS if c not in frame]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        frame["time_us"] = pd.to_numeric(frame["time_us"])
    except (OSError, ValueError) as e:
        raise StorageError(f"{path} cannot be read: {e}; run the job again to write it anew") from e
    frame["message"] = frame["message"].astype(object).fillna("").astype(str)
    frames = {}
    for title, rows in frame.groupby("problem", sort=False):
        kept = [c for c in rows if c in TRIAL_COLUMNS or rows[c].notna().any()]
        frames[str(title)] = rows[kept].sort_values("number").reset_index(drop=True)
    return frames


def _from_summary(job: JobData, frame: pd.DataFrame | None, folder: Path) -> TunedProblem:
    trials = None if frame is None else _trials(frame, tuple(job.winner.config))
    made = {
        "trials": f"{job.trials}, {STOPPED.get(job.stopped, job.stopped or 'unknown end')}",
        "resumed from earlier runs": str(job.resumed),
        "backend": job.backend,
        "recorded in": str(folder),
    }
    return TunedProblem(
        kernel=job.kernel,
        problem=job.problem,
        backend=job.backend,
        kind=job.kind,
        device=job.device,
        winner=job.winner,
        default=job.default,
        finalists=job.finalists,
        ties=frozenset(t.id for t in job.ties),
        trials=trials,
        bytes=job.bytes,
        flops=job.flops,
        exhausted=job.stopped == "space exhausted",
        environment={**job.environment, **made},
        folder=folder,
    )


def _from_trials(title: str, frame: pd.DataFrame, folder: Path) -> TunedProblem:
    """A problem that was tried and not finished, or for which nothing was valid."""
    kernel, _, problem = title.partition(" ")
    kinds = frame["kind"].dropna().unique()
    # The parameters are the columns that every row fills: a failed trial has no facts.
    complete: Sequence[Any] = [c for c in frame if c not in TRIAL_COLUMNS and frame[c].notna().all()]
    return TunedProblem(
        kernel=kernel,
        problem=problem,
        backend="unknown",
        kind=kinds[0] if len(kinds) else "unknown",
        device="unknown device",
        winner=None,
        default=None,
        finalists=(),
        ties=frozenset(),
        trials=_trials(frame, tuple(map(str, complete))),
        bytes=0,
        flops=0,
        exhausted=False,
        environment={"trials": str(len(frame)), "recorded in": str(folder)},
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
        kernel=entry.kernel,
        problem=entry.label,
        backend=entry.backend,
        kind=entry.kind,
        device=entry.device,
        winner=winner,
        default=default,
        finalists=tuple(sorted(known.values(), key=lambda t: t.time_us or 0.0)),
        ties=frozenset(t.id for t in ties),
        trials=None,
        bytes=0,
        flops=0,
        exhausted=False,
        environment={
            **entry.environment,
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
