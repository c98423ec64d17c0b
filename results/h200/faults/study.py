"""Tune a kernel most of whose tactics are broken: each costs one trial, and the winner stays right.

    python results/h200/faults/study.py OUT.json

The same tune with the broken tactics left out says what the winner should be.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import HERE, machine, write

from tuner.backends.base import Backend
from tuner.backends.select import BackendChoice
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.outcome import Timing
from tuner.store.results import Trial
from tuner.tuning.config import Job, load_config
from tuner.tuning.job import Places, Silent, run_job


class Clock(Silent):
    """Seconds from the end of the trial before, or of starting, to the end of each."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def started(self, problem: Problem, backend: Backend, trials: int) -> None:
        self._last = time.perf_counter()

    def trial(self, trial: Trial, resumed: bool) -> None:
        now = time.perf_counter()
        outcome, seconds = trial.outcome, now - self._last
        row = {**trial.tactic.config, "seconds": round(seconds, 4)}
        if isinstance(outcome, Timing):
            row |= {"status": "ok", "time_us": outcome.time_us}
        else:
            row |= {"status": outcome.kind.value, "message": outcome.message.splitlines()[0]}
        self.rows.append(row)
        self._last = now


def tuned(config: Job) -> dict[str, Any]:
    """One tune: its winner, the winner's ties, and what each trial cost."""
    clock = Clock()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder), Path(folder) / "tactics.json")
        result = run_job(config, BackendChoice.of("cuda"), places, clock)[0]
    return {
        "seconds": time.perf_counter() - started,
        "winner": result.winner.config,
        "winner_us": result.confirmed[result.winner].time_us,
        "ties": [t.config for t in result.ties],
        "failures": result.failures,
        "trials": clock.rows,
    }


def without_faults(config: Job) -> Job:
    """The same job, with only the right tactics in its space."""
    problem = config.problems[0]
    kernel = load_kernel("faulty.py:right", HERE / "faults")
    right = Problem.of(kernel, {d: ranges[0] for d, ranges in problem.dims.items()}, problem.dtypes)
    return dataclasses.replace(config, problems=(right,))


def main() -> None:
    config = load_config(HERE / "faults" / "faulty.toml")
    runs = {"with faults": tuned(config), "without": tuned(without_faults(config))}
    write(Path(sys.argv[1]), {"machine": machine(), "runs": runs})
    for name, run in runs.items():
        slowest = max(run["trials"], key=lambda t: t["seconds"])
        print(f"{name}: {run['seconds']:.1f} s, winner {run['winner']}, {run['failures']}, slowest {slowest}")


if __name__ == "__main__":
    main()
