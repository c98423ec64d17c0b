"""Run the search on recorded tables and see how soon it comes close to the optimum."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.outcome import Kind, Timing
from tuner.search import Search
from tuner.search.tactic import Config
from tuner.store.tables.table import Table

TRIALS = (8, 16, 32, 64, 128, 220)
SEEDS = tuple(range(20))


@dataclass(frozen=True)
class Replay:
    """How a sampler did on one table.

    Attributes:
        table: its name.
        sampler: who searched.
        optimum_us: the shortest recorded time.
        trials: numbers of trials looked at.
        ratios: for each of `trials`, one entry per seed: best time so far / optimum, or None when
            every trial had failed.
        kind: what kind of number the recorded times are.
    """

    table: str
    sampler: str
    optimum_us: float
    trials: tuple[int, ...]
    ratios: dict[int, tuple[float | None, ...]]
    kind: Kind = "measurement"


def replay(
    table: Table,
    sampler: str,
    *,
    seeds: Sequence[int] = SEEDS,
    trials: Sequence[int] = TRIALS,
    batch: int = 1,
    default: Config | None = None,
) -> Replay:
    """Search a table once per seed.

    Args:
        table: the recorded outcomes.
        sampler: a name in `tuner.search.SAMPLERS`.
        seeds: one search each.
        trials: ascending numbers of trials to look at; the last is the budget.
        batch: how many configurations to ask for at a time.
        default: where every search starts. A table does not say what its kernel's default was, so without
            this each seed draws one at random.

    Raises:
        ConfigError: for an unknown sampler, or a default that was not recorded.
    """
    runs = [best_so_far(table, sampler, seed, trials[-1], batch, default) for seed in seeds]
    ratios = {n: tuple(_ratio(run[:n], table.optimum_us) for run in runs) for n in trials}
    return Replay(table.name, sampler, table.optimum_us, tuple(trials), ratios, table.kind)


def _ratio(best_us: list[float | None], optimum_us: float) -> float | None:
    return None if best_us[-1] is None else best_us[-1] / optimum_us


def best_so_far(
    table: Table, sampler: str, seed: int, trials: int, batch: int, default: Config | None
) -> list[float | None]:
    """The shortest time in microseconds after each trial of one search, None while all failed."""
    if default is None:
        default = table.space.point(random.Random(seed).randrange(table.space.size))
    search = Search(table.space, default, sampler=sampler, seed=seed, budget=trials)
    best: list[float | None] = []
    while len(best) < trials:
        configs = search.ask(min(batch, trials - len(best)))
        if not configs:
            break
        for config in configs:
            outcome = table.outcome(config)
            time_us = outcome.time_us if isinstance(outcome, Timing) else None
            search.tell(config, time_us)
            known = [t for t in (*best[-1:], time_us) if t is not None]
            best.append(min(known, default=None))
    return best
