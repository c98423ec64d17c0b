"""The files a job leaves beside its study: trials as CSV, results as JSON, the winner's and the default's code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from tuner.compile.artifact import Artifact, Resources
from tuner.kernel.problem import Problem
from tuner.outcome import Failure, Kind, Outcome, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.columns import param_columns
from tuner.store.entry import Samples
from tuner.store.files import write_atomic

SUMMARY, TRIALS = "summary.json", "trials.csv"
TRIAL_COLUMNS = ("problem", "number", "tactic", "status", "kind", "time_us", "verified", "message")


STOPPED = {
    "trials": "budget reached",
    "time": "out of time",
    "space exhausted": "the whole space was tried",
    "none found": "no further legal tactic was found",
}
"""Why a search ended, and how a reader is told."""


class CodeFiles(Struct, frozen=True):
    """What a tactic was compiled to; `ptx` and `cubin` name files in the folder of the summary."""

    ptx: str
    cubin: str
    entry: str
    target: str
    compiler: str
    block: tuple[int, int, int]
    dynamic_shared_bytes: int
    resources: Resources


class TacticRecord(Struct, frozen=True):
    """A tactic with its time, as far as the record goes: an older one says less."""

    id: int
    config: dict[str, Value]
    time_us: float | None = None
    statistic: str = ""
    verified: str = ""
    samples_us: tuple[float, ...] = ()
    samples: Samples | None = None
    facts: dict[str, float] = {}
    code: CodeFiles | None = None


class JobData(Struct, frozen=True):
    """A job in a summary. Keys that other versions add are left unread."""

    kernel: str
    problem: str
    backend: str
    kind: Kind
    device: str
    winner: TacticRecord
    default: TacticRecord
    ties: tuple[TacticRecord, ...]
    trials: int
    finalists: tuple[TacticRecord, ...] = ()
    stopped: str = ""
    resumed: int = 0
    bytes: int = 0
    flops: int = 0
    environment: dict[str, str] = {}


class Summary(Struct, frozen=True):
    jobs: tuple[JobData, ...]


def as_job(result: Result, cache: Path, out: Path) -> dict[str, Any]:
    """A result as the data that ``--json`` and ``summary.json`` hold.

    ``bytes`` and ``flops`` are what the problem must move and compute in the time that is given: at its usual
    size, or the mean over the shapes that it is timed at, weighted alike.
    """

    def described(tactic: Tactic) -> dict[str, Any]:
        timing = result.confirmed.get(tactic)
        data: dict[str, Any] = {"id": tactic.id, "config": tactic.config, "time_us": None}
        return data if timing is None else {**data, "time_us": timing.time_us, "verified": timing.verified}

    return {
        "kernel": result.problem.kernel.id,
        "problem": result.problem.label,
        "backend": result.backend,
        "kind": result.kind,
        "device": result.device,
        "winner": described(result.winner),
        "default": described(result.default),
        "ties": [described(t) for t in result.ties],
        "speedup": result.speedup,
        "bytes": round(sum(share * p.bytes() for p, share in result.problem.shares)),
        "flops": round(sum(share * p.flops() for p, share in result.problem.shares)),
        "trials": len(result.trials),
        "resumed": result.resumed,
        "stopped": result.stopped,
        "failures": result.failures,
        "environment": dict(result.environment),
        "cache": str(cache),
        "out": str(out),
    }


def write_summary(path: Path, results: Sequence[Result], cache: Path, out: Path) -> None:
    """Write the results as JSON: as on stdout, with the finalists, and their code in a folder beside it.

    A finalist has its raw samples in microseconds and the facts about its run; the winner and the default
    also have ``code``: the names of their PTX and cubin files, how they are launched, and what they take.
    """
    jobs = []
    for number, result in enumerate(results):
        finalists = []
        for tactic, timing in sorted(result.confirmed.items(), key=lambda item: item[1].time_us):
            finalist = {
                "id": tactic.id,
                "config": tactic.config,
                "time_us": timing.time_us,
                "statistic": timing.statistic,
                "verified": timing.verified,
                "samples_us": timing.samples_us,
                "facts": dict(timing.facts),
            }
            if tactic in result.code:
                finalist["code"] = _write_code(path.parent, f"code/{number}-{tactic.id}", result.code[tactic])
            finalists.append(finalist)
        jobs.append({**as_job(result, cache, out), "finalists": finalists})
    write_atomic(path, (json.dumps({"jobs": jobs}, indent=2) + "\n").encode())


def _write_code(folder: Path, name: str, artifact: Artifact) -> dict[str, Any]:
    """Write a tactic's PTX and cubin, and describe them."""
    import msgspec

    write_atomic(folder / f"{name}.ptx", artifact.ptx.encode())
    write_atomic(folder / f"{name}.cubin", artifact.cubin)
    return {
        "ptx": f"{name}.ptx",
        "cubin": f"{name}.cubin",
        "entry": artifact.entry,
        "target": artifact.target,
        "compiler": artifact.compiler,
        "block": artifact.block,
        "dynamic_shared_bytes": artifact.shared_bytes,
        "resources": msgspec.to_builtins(artifact.resources, str_keys=True),
    }


_FIRST = ("problem", "number", "tactic", "status", "kind", "time_us", "verified")
_LAST = ("message",)


def write_trials(path: Path, trials: Mapping[str, Sequence[Trial]]) -> None:
    """Write one row per trial, in the order of asking, for each problem.

    Columns: problem, number, tactic, status ("ok" or the class of failure), kind, time_us, verified, one
    per parameter, one per fact about the code or the run, message. A parameter that is called like another
    column is kept apart, see `tuner.store.columns`.
    """
    import pandas as pd

    ended = [trial for finished in trials.values() for trial in finished]
    facts = {name for t in ended if isinstance(t.outcome, Timing) for name in t.outcome.facts}
    params = dict.fromkeys(name for t in ended for name in t.tactic.config)
    columns = param_columns(params, {*TRIAL_COLUMNS, *facts})
    rows: list[dict[str, Any]] = []
    for problem, finished in trials.items():
        for trial in finished:
            row: dict[str, Any] = {"problem": problem, "number": trial.number, "tactic": trial.tactic.id}
            outcome = trial.outcome
            config = {columns[name]: value for name, value in trial.tactic.config.items()}
            if isinstance(outcome, Timing):
                row |= {"status": "ok", "kind": outcome.kind, "time_us": outcome.time_us, "verified": outcome.verified}
                row |= {**config, **outcome.facts, "message": ""}
            else:
                row |= {"status": outcome.kind.value, **config, "message": outcome.message}
            rows.append(row)
    known = dict.fromkeys(name for row in rows for name in row)
    frame = pd.DataFrame(rows, columns=[*_FIRST, *(c for c in known if c not in (*_FIRST, *_LAST)), *_LAST])
    # A parameter that some tactics lack would turn its integers into floats.
    integers = {columns[n] for t in ended for n, v in t.tactic.config.items() if type(v) is int}
    write_atomic(path, frame.astype(dict.fromkeys(sorted(integers), "Int64")).to_csv(index=False).encode())


@dataclass(frozen=True)
class Trial:
    """One finished trial: its place in the order of asking, the tactic, and what became of it."""

    number: int
    tactic: Tactic
    outcome: Outcome


@dataclass(frozen=True)
class Result:
    """What tuning one problem found.

    Attributes:
        problem: what was tuned.
        backend, kind, device: who said how long a tactic takes, and what kind of number that is.
        winner, default: tactics; the default is the kernel's own.
        confirmed: the finalists' times, taken side by side. Holds the winner, and the default unless it failed.
        ties: tactics that cannot be told from the best, the winner excluded.
        trials: all trials of the study, earlier runs included.
        resumed: how many of them an earlier run had finished.
        stopped: why the search ended, a key of `STOPPED`.
        environment: versions and settings that the times depend on.
        code: what the winner and the default were compiled to, where anything was.
    """

    problem: Problem
    backend: str
    kind: Kind
    device: str
    capability: tuple[int, int] | None
    winner: Tactic
    default: Tactic
    confirmed: Mapping[Tactic, Timing]
    ties: tuple[Tactic, ...]
    trials: tuple[Trial, ...]
    resumed: int
    stopped: str
    environment: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[Tactic, Artifact] = field(default_factory=dict)

    @property
    def speedup(self) -> float | None:
        """The default's time over the winner's; None when the default failed."""
        if self.default not in self.confirmed:
            return None
        return self.confirmed[self.default].time_us / self.confirmed[self.winner].time_us

    @property
    def failures(self) -> dict[str, int]:
        """How many trials failed, by class."""
        return failures_by_class(self.trials)


def failures_by_class(trials: tuple[Trial, ...]) -> dict[str, int]:
    """Count failed trials by class, the most frequent first."""
    return dict(Counter(t.outcome.kind.value for t in trials if isinstance(t.outcome, Failure)).most_common())
