"""How well the search does as the cuda backend asks: some tactics on the way at a time, told as results come.

    python results/search/asked.py --out FOLDER TABLE…

A clock stands in for the machine: processes that compile and a GPU that measures, each tactic for a time drawn around
what an H200 and its host of 16 cores took. The search, and the rule that says how many tactics are on the way
(`tuner.backends.cuda.pace`), are the product's own. Each search starts from a random configuration. Writes the ratio
of best so far to optimum at 32 and 64 trials, per table, host and seed, and how many were on the way.
"""

from __future__ import annotations

import heapq
import math
import random
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import synthetic

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write_lines

from tuner.backends.cuda.pace import Pace
from tuner.outcome import Timing
from tuner.search import Search
from tuner.store.tables.table import read_table

TRIALS, SEEDS = (32, 64), 5


@dataclass(frozen=True)
class Host:
    """A machine: seconds in the median to compile a tactic and to measure it, and how many processes compile."""

    name: str
    compile_s: float
    measure_s: float
    workers: int = 14


HOSTS = (Host("light kernel", 0.07, 0.016), Host("heavy kernel", 0.6, 0.05))
ONE_AT_A_TIME = Host("one at a time", 0.0, 1.0, 0)


def played(table: Any, host: Host, seed: int) -> tuple[list[float], float]:
    """The best time so far over the optimum after each trial, and how many tactics were on the way on average."""
    rng = random.Random(seed)
    default = table.space.point(rng.randrange(table.space.size))
    search = Search(table.space, default, seed=seed, budget=TRIALS[-1], exhaust=False)
    pace = Pace(1, host.workers)
    compiling: list[tuple[float, int, Any]] = []  # when it is done
    queued: deque[Any] = deque()  # for a process that compiles
    ready: deque[Any] = deque()  # for the GPU
    measured: tuple[float, Any] | None = None
    now, asked, best, course, counts, waited = 0.0, 0, math.inf, list[float](), list[int](), False

    def duration(median_s: float) -> float:
        return median_s * math.exp(rng.gauss(0, 0.3))

    while len(course) < TRIALS[-1]:
        limit = pace.limit if host.workers else 1
        while asked < TRIALS[-1] and len(compiling) + len(queued) + len(ready) + (measured is not None) < limit:
            configs = search.ask(1)
            if not configs:
                break
            queued.append(configs[0])
            asked += 1
        while queued and len(compiling) < max(host.workers, 1):
            heapq.heappush(compiling, (now + duration(host.compile_s), asked + len(compiling), queued.popleft()))
        if measured is None and ready:
            pace.taken(waited and bool(course))
            measured, waited = (now + duration(host.measure_s), ready.popleft()), False
        if measured is None and not compiling:
            break
        counts.append(len(compiling) + len(queued) + len(ready) + (measured is not None))
        if measured is not None and (not compiling or measured[0] <= compiling[0][0]):
            now, config = measured
            measured = None
            waited = not ready
            outcome = table.outcome(config)
            time_us = outcome.time_us if isinstance(outcome, Timing) else None
            search.tell(config, time_us)
            best = min(best, math.inf if time_us is None else time_us)
            course.append(best / table.optimum_us)
        else:
            now, _, config = heapq.heappop(compiling)
            pace.ready(len(ready))
            ready.append(config)
    return course, fmean(counts)


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of ratios; an infinite one is taken for 10."""
    return math.exp(fmean(math.log(min(r, 10.0)) for r in ratios))


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.read()
    tables = list(map(read_table, given.tables))
    if given.dry:
        given.seeds, tables = 1, synthetic.tables(("rugged-1",))
    rows = []
    for table in tables:
        for host in (ONE_AT_A_TIME, *HOSTS):
            runs = [played(table, host, seed) for seed in range(given.seeds)]
            ratios = {n: [round(course[min(n, len(course)) - 1], 4) for course, _ in runs] for n in TRIALS}
            row = {"table": table.name, "host": host.name, "on_the_way": round(fmean(c for _, c in runs), 2)}
            rows.append({**row, "ratios": ratios})
        print(table.name, [[r["host"], r["on_the_way"]] for r in rows[-3:]], flush=True)
    for host in (ONE_AT_A_TIME, *HOSTS):
        of_host = [r for r in rows if r["host"] == host.name]
        means = {n: geometric_mean([x for r in of_host for x in r["ratios"][n]]) for n in TRIALS}
        print(f"{host.name:14}", {n: round(m, 4) for n, m in means.items()}, flush=True)
    write_lines(given.out / "asked.json", rows)


if __name__ == "__main__":
    main()
