"""The files a job leaves beside its study: trials as CSV, results as JSON, the winner's and the default's code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.compile.artifact import Artifact
from tuner.files import write_atomic
from tuner.tactic import Tactic
from tuner.trial import Timing
from tuner.tuning import Result, Trial


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
    per parameter, one per fact about the code or the run, message.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for problem, finished in trials.items():
        for trial in finished:
            row: dict[str, Any] = {"problem": problem, "number": trial.number, "tactic": trial.tactic.id}
            outcome = trial.outcome
            if isinstance(outcome, Timing):
                row |= {"status": "ok", "kind": outcome.kind, "time_us": outcome.time_us, "verified": outcome.verified}
                row |= {**trial.tactic.config, **outcome.facts, "message": ""}
            else:
                row |= {"status": outcome.kind.value, **trial.tactic.config, "message": outcome.message}
            rows.append(row)
    known = dict.fromkeys(name for row in rows for name in row)
    frame = pd.DataFrame(rows, columns=[*_FIRST, *(c for c in known if c not in (*_FIRST, *_LAST)), *_LAST])
    # A parameter that some tactics lack would turn its integers into floats.
    integers = {
        n for finished in trials.values() for t in finished for n, v in t.tactic.config.items() if type(v) is int
    }
    write_atomic(path, frame.astype(dict.fromkeys(sorted(integers), "Int64")).to_csv(index=False).encode())
