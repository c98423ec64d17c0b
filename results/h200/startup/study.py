"""Where the start and the end of a tune go: taking contexts, by how many processes do, and a tune by phase.

    python results/h200/startup/study.py --out FOLDER

The tunes find every tactic compiled, so that what is left is start-up, assembling and measuring.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import Arguments, config, machine, write

from tuner.backends.base import Backend
from tuner.backends.cuda.backend import CudaBackend
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.equipment import equip
from tuner.compile.blobs import Store
from tuner.compile.compiler import Compiler
from tuner.gpu.present import describe
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Outcome
from tuner.search import Search
from tuner.search.tactic import Config
from tuner.store.journal import open_journal
from tuner.store.results import Trial
from tuner.store.study_data import StudyIdentity
from tuner.tuning.config import load_config
from tuner.tuning.loop import tune_problem
from tuner.tuning.progress import Silent

PROCESSES = (1, 2, 4, 10)
ASSEMBLERS = (8, 4, 2, 1)
OWNER = "from tuner.backends.cuda.bench import Bench; bench = Bench(0); print(flush=True); input()"
"""A process that owns a context, as those that time and those that compile do."""


def contexts(count: int) -> dict[str, float]:
    """Seconds until each process has a context, and to end them one after the other or at once."""
    row: dict[str, float] = {"processes": count}
    for how in ("in turn", "at once"):
        began = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        owners = [subprocess.Popen([sys.executable, "-c", OWNER], **pipes) for _ in range(count)]
        for owner in owners:
            if not owner.stdout.readline():
                raise SystemExit("error: a process did not get a context")
            row.setdefault("first ready", time.perf_counter() - began)
        row.setdefault("all ready", time.perf_counter() - began)
        began = time.perf_counter()
        if how == "at once":
            for owner in owners:
                owner.kill()
        for owner in owners:
            owner.kill()
            owner.communicate()
        row[f"ended {how}"] = time.perf_counter() - began
    return row


class Clock(Silent):
    """Seconds since it was made at which each phase ended and each trial did."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.phases: dict[str, float] = {}
        self.trials: list[float] = []

    def now(self) -> float:
        return round(time.perf_counter() - self._began, 4)

    def mark(self, phase: str) -> None:
        self.phases[phase] = self.now()

    def trial(self, trial: Trial, resumed: bool) -> None:
        self.trials.append(self.now())


class Marked(CudaBackend):
    """Tells a clock when confirming begins."""

    clock: Clock

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        self.clock.mark("searched")
        return super().confirm(configs)


def tune(name: str, assemblers: int, store: Path) -> dict[str, Any]:
    """One tune in this process, by phase."""
    job = load_config(config(name))
    problem, options = job.problems[0], job.search
    clock = Clock()
    device = describe([0])[0]
    clock.mark("driver started")
    compiler = Compiler(device.target, store=Store(store), workers=0, timeout_s=60.0, memory_bytes=8 << 30)
    factory = partial(Bench, device.ordinal)
    equipment = equip([device], [factory], compiler, (factory, assemblers))
    backend = Marked(problem, equipment, closes=equipment)
    backend.clock = clock
    clock.mark("processes launched")
    _search(problem, backend, options, clock)
    clock.mark("confirmed")
    backend.close()
    clock.mark("closed")
    return {"kernel": name, "assemblers": assemblers, "phases": clock.phases, "trials": clock.trials}


def _search(problem: Problem, backend: Backend, options: Any, clock: Clock) -> None:
    identity = StudyIdentity(data_of(problem), problem.label, backend.origin)
    search = Search(problem.space, problem.kernel.default, sampler=options.sampler, seed=0, budget=options.trials)
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder), None, identity, problem.space)
        tune_problem(
            problem,
            backend,
            journal,
            search,
            trials=options.trials,
            deadline=math.inf,
            finalists=options.finalists,
            incumbent=None,
            progress=clock,
        )


def main() -> None:
    given = Arguments(__doc__).read()
    data: dict[str, Any] = {"machine": machine(), "contexts": [], "tunes": []}
    processes, assemblers, names = PROCESSES, ASSEMBLERS, ("increment", "gemm")
    if given.dry:
        processes, assemblers, names = processes[:1], assemblers[-1:], names[:1]
    for count in processes:
        data["contexts"].append(contexts(count))
        print({k: round(v, 2) for k, v in data["contexts"][-1].items()}, flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as store:
            tune(name, assemblers[0], Path(store))  # compiles
            for count in assemblers:
                run = tune(name, count, Path(store))
                data["tunes"].append(run)
                shown = {k: round(v, 2) for k, v in run["phases"].items()}
                print(f"{name}, {count} assemblers: first trial at {run['trials'][0]:.2f} s, {shown}", flush=True)
                write(given.out / "data.json", data)


if __name__ == "__main__":
    main()
