"""Tune a kernel most of whose tactics are broken: each costs one trial, and the winner stays right.

    python results/h200/faults/study.py --out FOLDER

The same tune with the broken tactics left out says what the winner should be.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments, machine, write

from tuner import Problem, Range, tune
from tuner.kernel.loader import load_kernel
from tuner.outcome import Timing
from tuner.tuning.config import load_config
from tuner.tuning.progress import Silent

HERE = Path(__file__).resolve().parent
SMALL = {"N": Range(1000, dry.SIZE, dry.SIZE + 37)}
SIMULATED = dry.Simulated(str(HERE / "faulty.py") + ":kernel")
"""The GPU of a dry run does what is right whatever the fault; but it has no more shared memory than a real one."""


class Clock(Silent):
    """Seconds from the end of the trial before, or of starting, to the end of each."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def started(self, problem: Problem, backend: Any, trials: int) -> None:
        self._last = time.perf_counter()

    def trial(self, trial: Any, resumed: bool) -> None:
        now = time.perf_counter()
        outcome, seconds = trial.outcome, now - self._last
        row = {**trial.tactic.config, "seconds": round(seconds, 4)}
        if isinstance(outcome, Timing):
            row |= {"status": "ok", "time_us": outcome.time_us}
        else:
            row |= {"status": outcome.kind.value, "message": outcome.message.splitlines()[0]}
        self.rows.append(row)
        self._last = now


def tuned(problem: Problem, trials: int) -> dict[str, Any]:
    """One tune: its winner, the winner's ties, and what each trial cost."""
    clock = Clock()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        places: dict[str, Any] = {"out": Path(folder), "cache": Path(folder) / "tactics.json"}
        result = tune(problem, backend="cuda", trials=trials, progress=clock, **places)
    return {
        "seconds": time.perf_counter() - started,
        "winner": result.winner.config,
        "winner_us": result.confirmed[result.winner].time_us,
        "ties": [t.config for t in result.ties],
        "failures": result.failures,
        "trials": clock.rows,
    }


def main() -> None:
    given = Arguments(__doc__).read(SIMULATED)
    job = load_config(HERE / "faulty.toml")
    problem, trials = job.problems[0], dry.TRIALS if given.dry else job.search.trials
    dims = SMALL if given.dry else {d: ranges[0] for d, ranges in problem.dims.items()}
    kernels = {"with faults": problem.kernel, "without": load_kernel("faulty.py:right", HERE)}
    runs = {name: tuned(Problem.of(kernel, dims, problem.dtypes), trials) for name, kernel in kernels.items()}
    write(given.out / "data.json", {"machine": machine(), "runs": runs})
    for name, run in runs.items():
        slowest = max(run["trials"], key=lambda t: t["seconds"])
        print(f"{name}: {run['seconds']:.1f} s, winner {run['winner']}, {run['failures']}, slowest {slowest}")


if __name__ == "__main__":
    main()
