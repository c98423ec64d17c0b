"""Exhaustive tables: record every tactic of a space, search in what was recorded, and what was recorded with what."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import dry
from common import RESULTS, ROOT, machine

TABLES = RESULTS / "h200" / "tables"


def as_recorded(folder: str, name: str) -> Path:
    """A file of `kernels` or `configs` as it was for the tables: beside them, where it has since become another."""
    earlier = TABLES / name
    return earlier if earlier.exists() else ROOT / folder / name


def record(path: Path, problem: Any, **options: Any) -> None:
    """Time every tactic of a problem's space on the GPU (few, in a dry run) and write a T4 table.

    Args:
        path: of the table, packed with gzip.
        problem: at fixed sizes.
        options: of `tuner.tune`.
    """
    from tuner import tune
    from tuner.store.tables.t4 import document

    trials = dry.TRIALS if dry.running() else problem.space.size
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "tactics.json"
        result = tune(problem, backend="cuda", trials=trials, out=Path(folder), cache=cache, **options)
    seconds = time.perf_counter() - started
    about = {
        "device": result.origin.device,
        "kernel": problem.kernel.name,
        "problem": problem.label,
        "seconds": seconds,
    }
    content = document(((t.tactic, t.outcome) for t in result.trials), {**about, **machine()})
    path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
    print(f"{path.name}: {len(result.trials)} tactics in {seconds:.1f} s, failed {result.failures}", flush=True)


def search(
    table: Any, default: Any, seed: int, budget: int, seeds: Any = (), elsewhere: Any = ()
) -> tuple[list[float], dict[Any, float]]:
    """Search in a table.

    Args:
        table: a recorded table.
        default: the kernel's default configuration.
        seed: of everything random.
        budget: trials.
        seeds, elsewhere: as in `tuner.search.Search`, what other shapes tell.

    Returns:
        The best time in microseconds after each trial, and the time of every tactic tried.
    """
    from tuner.outcome import Timing
    from tuner.search import Search
    from tuner.search.tactic import Tactic

    asked = Search(table.space, default, seed=seed, budget=budget, seeds=seeds, elsewhere=elsewhere)
    times: dict[Tactic, float] = {}
    best: list[float] = []
    while len(best) < budget and (configs := asked.ask(1)):
        outcome = table.outcome(configs[0])
        time_us = outcome.time_us if isinstance(outcome, Timing) else None
        asked.tell(configs[0], time_us)
        if time_us is not None:
            times[Tactic(configs[0])] = time_us
        best.append(min(times.values(), default=float("inf")))
    return best, times
