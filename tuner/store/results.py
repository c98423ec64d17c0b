"""What tuning a problem found, and ``summary.json``, which keeps that for all problems of a job.

Beside the summary, in the folder ``code``, are the PTX and cubin of each problem's winner and default.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

from tuner.compile.artifact import Artifact, Code, Resources
from tuner.errors import StorageError
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import ProblemData, data_of
from tuner.outcome import Failure, Kind, Origin, Outcome, Timing
from tuner.search.tactic import Tactic, Value
from tuner.store.entry import Microseconds, Samples
from tuner.store.files import write_atomic

SUMMARY = "summary.json"


STOPPED = {
    "trials": "budget reached",
    "time": "out of time",
    "space exhausted": "the whole space was tried",
    "none found": "no further legal tactic was found",
    "nothing left": "next to nothing was left to gain",
}
"""Why a search ended, and how a reader is told."""

CERTAINTY = {
    "nothing left": "On the recorded tables that the rule was chosen on, 62 of 62 searches that ended so, led by "
    "predictions, were within 1 % of the best; it is less sure in spaces of thousands that no prediction leads"
}
"""How sure that is, where it is the search's own opinion; from results/search."""


class CodeFiles(Struct, frozen=True):
    """What a launch of a tactic was compiled to.

    Attributes:
        ptx, cubin: files in the folder of the summary.
        step: its name, where there are several launches.
    """

    ptx: str
    cubin: str
    entry: str
    target: str
    compiler: str
    block: tuple[int, int, int]
    dynamic_shared_bytes: int
    resources: Resources
    step: str = ""


class TacticRecord(Struct, frozen=True, omit_defaults=True):
    """A tactic with its time, as far as the record goes: an older one says less.

    Attributes:
        id, config: the tactic.
        time_us: microseconds per launch; None where it failed.
        statistic: what that is of the samples.
        verified: what the correctness gate said.
        samples_us: the raw samples in microseconds; a prediction has none.
        samples: what they looked like, where a cache keeps no more.
        facts: numbers about the run, by name with the unit in the name.
        code: what it was compiled to, where it is one launch.
        steps: what each of its launches was compiled to, in order, where there are several.
    """

    id: int
    config: dict[str, Value]
    time_us: Microseconds | None
    statistic: str = ""
    verified: str = ""
    samples_us: tuple[Microseconds, ...] = ()
    samples: Samples | None = None
    facts: dict[str, float] = {}
    code: CodeFiles | None = None
    steps: tuple[CodeFiles, ...] = ()

    @property
    def launches(self) -> tuple[CodeFiles, ...]:
        """What each of its launches was compiled to, in order; empty where that is not known."""
        return self.steps if self.code is None else (self.code,)


class JobData(Struct, frozen=True, kw_only=True):
    """The outcome of tuning one problem, as ``tune --json`` prints it.

    Attributes:
        kernel, problem: the plugin id, and the problem's label, for people.
        backend, kind, device, capability, environment: as in `Origin`.
        winner, default, ties: tactics; the ties are those that cannot be told from the best, the winner excluded.
        speedup: the default's time over the winner's; None where the default failed.
        bytes, flops: what the problem must move and compute in the time that is given: at its usual size, or the
            mean over the shapes that it is timed at, weighted alike.
        trials: how many there are, those of earlier runs included.
        resumed: how many of them an earlier run had finished.
        stopped: why the search ended, a key of `STOPPED`.
        failures: how many trials failed, by class.
        cache, out: the tactic cache and the results folder.
        data: the problem; None in an older file.
    """

    kernel: str
    problem: str
    backend: str
    kind: Kind
    device: str
    winner: TacticRecord
    default: TacticRecord
    ties: tuple[TacticRecord, ...]
    speedup: float | None = None
    bytes: int = 0
    flops: int = 0
    dtypes: tuple[str, ...] = ()
    trials: int
    resumed: int = 0
    stopped: str = ""
    failures: dict[str, int] = {}
    environment: dict[str, str] = {}
    cache: str = ""
    out: str = ""
    capability: tuple[int, int] | None = None
    data: ProblemData | None = None

    @property
    def origin(self) -> Origin:
        """Where its times come from."""
        return Origin(self.backend, self.kind, self.device, self.capability, self.environment)


class FinishedJob(JobData, frozen=True, kw_only=True):
    """The outcome of tuning one problem, as ``summary.json`` keeps it: with the finalists, the fastest first."""

    finalists: tuple[TacticRecord, ...] = ()


class Summary(Struct, frozen=True):
    """The content of ``summary.json``. Keys that other versions add are left unread."""

    jobs: tuple[FinishedJob, ...]


def as_job(result: Result, cache: Path, out: Path) -> JobData:
    """Describe a result as data; `cache` and `out` say where it is kept."""

    def described(tactic: Tactic) -> TacticRecord:
        timing = result.confirmed.get(tactic)
        if timing is None:
            return TacticRecord(tactic.id, dict(tactic.config), None)
        return TacticRecord(tactic.id, dict(tactic.config), timing.time_us, verified=timing.verified)

    problem, origin = result.problem, result.origin
    return JobData(
        kernel=problem.kernel.id,
        problem=problem.label,
        backend=origin.backend,
        kind=origin.kind,
        device=origin.device,
        winner=described(result.winner),
        default=described(result.default),
        ties=tuple(map(described, result.ties)),
        speedup=result.speedup,
        bytes=round(sum(share * p.bytes() for p, share in problem.shares)),
        flops=round(sum(share * p.flops() for p, share in problem.shares)),
        dtypes=tuple(dict.fromkeys(problem.dtype(t) for t in problem.kernel.inputs.values())),
        trials=len(result.trials),
        resumed=result.resumed,
        stopped=result.stopped,
        failures=result.failures,
        environment=dict(origin.environment),
        cache=str(cache),
        out=str(out),
        capability=origin.capability,
        data=data_of(problem),
    )


def write_summary(
    path: Path, results: Sequence[Result], cache: Path, out: Path, missing: Sequence[Problem] = ()
) -> None:
    """Write the results of a job, and the code of their winners and defaults into a folder beside it.

    Where results are missing, those that the file already holds of other problems stay in it.

    Args:
        path: the file.
        results: one for each problem that was finished.
        cache, out: the tactic cache and the results folder, as the summary names them.
        missing: problems of the job that were not finished.

    Raises:
        StorageError: when something cannot be written.
    """
    if not results and path.exists():
        return
    jobs = _kept(path.parent, results) if missing else []
    for result in results:
        ranked = sorted(result.confirmed, key=lambda tactic: result.confirmed[tactic].time_us)
        finalists = tuple(_finalist(path.parent, result, tactic) for tactic in ranked)
        job = msgspec.structs.asdict(as_job(result, cache, out))
        jobs.append(FinishedJob(**job, finalists=finalists))
    content = msgspec.to_builtins(Summary(tuple(jobs)), str_keys=True)
    write_atomic(path, (json.dumps(content, indent=2) + "\n").encode())


def read_summary(folder: Path) -> Summary:
    """Read the summary in a results folder.

    Raises:
        StorageError: when it is missing or damaged.
    """
    path = folder / SUMMARY
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=Summary)
    except FileNotFoundError:
        raise StorageError(f"{folder} holds no {SUMMARY}; name a folder that tuner tune left (--out)") from None
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}; give read access") from e
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise StorageError(f"{path} is damaged: {e}; run the job again to write it anew") from e


def _kept(folder: Path, results: Sequence[Result]) -> list[FinishedJob]:
    """What the summary in a folder says of other problems than those of some results; nothing where it is damaged."""
    now = {data_of(result.problem).key for result in results}
    labels = {(result.problem.kernel.id, result.problem.label) for result in results}  # all an older file has
    try:
        earlier = read_summary(folder).jobs
    except StorageError:
        return []
    return [j for j in earlier if (j.data.key not in now if j.data else (j.kernel, j.problem) not in labels)]


def _finalist(folder: Path, result: Result, tactic: Tactic) -> TacticRecord:
    """All there is to say about a finalist, whose code is written, if it is kept."""
    timing, made = result.confirmed[tactic], result.code.get(tactic)
    name = f"code/{data_of(result.problem).id}-{tactic.id}"
    steps = [] if made is None else list(zip(result.problem.steps(tactic.config), made.steps, strict=True))
    files = [_write_code(folder, f"{name}-{s.name}" if s.name else name, s.name, a) for s, a in steps]
    return TacticRecord(
        id=tactic.id,
        config=dict(tactic.config),
        time_us=timing.time_us,
        statistic=timing.statistic,
        verified=timing.verified,
        samples_us=timing.samples_us,
        facts=dict(timing.facts),
        code=files[0] if len(files) == 1 else None,
        steps=tuple(files) if len(files) > 1 else (),
    )


def _write_code(folder: Path, name: str, step: str, artifact: Artifact) -> CodeFiles:
    """Write the PTX and cubin of one launch of a tactic, and describe them."""
    write_atomic(folder / f"{name}.ptx", artifact.ptx.encode())
    write_atomic(folder / f"{name}.cubin", artifact.cubin)
    return CodeFiles(
        ptx=f"{name}.ptx",
        cubin=f"{name}.cubin",
        entry=artifact.entry,
        target=artifact.target,
        compiler=artifact.compiler,
        block=artifact.block,
        dynamic_shared_bytes=artifact.shared_bytes,
        resources=artifact.resources,
        step=step,
    )


@dataclass(frozen=True)
class Trial:
    """One finished trial: its place in the order of asking, the tactic, and what became of it."""

    number: int
    tactic: Tactic
    outcome: Outcome


@dataclass(frozen=True, repr=False)
class Result:
    """What tuning one problem found.

    Attributes:
        problem: what was tuned.
        origin: who said how long a tactic takes, on which GPU, and what kind of number that is.
        winner, default: tactics; the default is the kernel's own.
        confirmed: the finalists' times, taken side by side. Holds the winner, and the default unless it failed.
        ties: tactics that cannot be told from the best, the winner excluded.
        trials: all trials of the study, earlier runs included.
        resumed: how many of them an earlier run had finished.
        stopped: why the search ended, a key of `STOPPED`.
        code: what the winner and the default were compiled to, where anything was.
    """

    problem: Problem
    origin: Origin
    winner: Tactic
    default: Tactic
    confirmed: Mapping[Tactic, Timing]
    ties: tuple[Tactic, ...]
    trials: tuple[Trial, ...]
    resumed: int
    stopped: str
    code: Mapping[Tactic, Code] = field(default_factory=dict)

    def __repr__(self) -> str:
        winner, origin, speedup = self.winner, self.origin, self.speedup
        beside = "" if speedup is None else f", {speedup:.3f} times as fast as the default"
        time = f"{self.confirmed[winner].time_us:.4g} us ({self.confirmed[winner].kind})"
        return f"<Result of {self.problem} on {origin.device} by {origin.backend}: ({winner}) takes {time}{beside}>"

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
