"""Replay exhaustive tables: what a shape costs alone, and what it costs once another shape of the kernel was tuned.

    python study.py OUT.json [SEEDS]

For each kernel and each order of its two recorded sizes, with the kernel's own default: the first is searched with 64
trials, the second alone with 64, and again with up to 26 (40 %), starting from what the first found, as
`tuner tune` does.
"""

from __future__ import annotations

import re
import sys
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "h200"))
from common import as_recorded

ROOT = Path(__file__).parents[2]
ALONE, SHARED = 64, 26
COUNTS = (1, 2, 4, 8, 12, 16, 20, 26, 32, 48, 64)


def main() -> None:
    from tuner.store.tables.table import read_table

    out, seeds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    kernels: dict[str, list[Any]] = {}
    for path in sorted((ROOT / "results/h200/tables").glob("*.json.gz")):
        name = re.split(r"_[A-Z]\d", path.name)[0]
        kernels.setdefault(name, []).append(read_table(path))
    rows = []
    for name, (one, other) in kernels.items():
        for first, second in ((one, other), (other, one)):
            row = pair(name, first, second, seeds)
            rows.append(row)
            means = {how: {n: fmean(r) for n, r in row[how].items()} for how in ("alone", "shared")}
            shown = "  ".join(
                f"{n}: {mean:.4f} ({means['alone'][n]:.4f})" for n, mean in means["shared"].items() if n > 4
            )
            print(f"{second.name:30} shared (alone) {shown}  alone 64: {means['alone'][64]:.4f}", flush=True)
    lines = ",\n".join(msgspec.json.encode(row).decode() for row in rows)
    out.write_text(f"[\n{lines}\n]\n")


def pair(name: str, first: Any, second: Any, seeds: int) -> dict[str, Any]:
    """Best so far over the optimum after each of `COUNTS` trials of the second shape, per seed."""
    from tuner.tuning.config import load_config
    from tuner.tuning.neighbours import SEEDS, Tuned, elsewhere
    from tuner.tuning.neighbours import seeds as best_of

    default = load_config(as_recorded("configs", f"{name}.toml")).problems[0].kernel.default
    here, there = place(second), place(first)
    alone: dict[int, list[float]] = {n: [] for n in COUNTS}
    shared: dict[int, list[float]] = {n: [] for n in COUNTS if n <= SHARED}
    for seed in range(seeds):
        _, times = search(first, default, seed, ALONE)
        tuned = [Tuned(there, {t: us for t, us in times.items() if known(second.space, t)})]
        started = [t.config for t in best_of(here, tuned, SEEDS)]
        found, _ = search(second, default, seed, ALONE)
        helped, _ = search(second, default, seed, SHARED, started, elsewhere(here, second.space, tuned))
        for ratios, best in ((alone, found), (shared, helped)):
            for n in ratios:
                ratios[n].append(round(best[min(n, len(best)) - 1] / second.optimum_us, 5))
    sizes = {"first": first.name, "second": second.name, "tactics": second.space.size}
    return {"kernel": name, **sizes, "alone": alone, "shared": shared}


def place(table: Any) -> tuple[float, ...]:
    """Where a table's shape lies, by its file's name."""
    return tuple(log2(int(size)) for _, size in sorted(re.findall(r"_([A-Z])(\d+)", table.name.removesuffix("_T4"))))


def known(space: Any, tactic: Any) -> bool:
    """Whether a recorded space has all values of a tactic."""
    return all(tactic.config[p.name] in p.values for p in space.params)


def search(
    table: Any, default: Any, seed: int, budget: int, seeds: Any = (), elsewhere: Any = ()
) -> tuple[list[float], Any]:
    """The best time after each trial, and the time of every tactic tried."""
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


if __name__ == "__main__":
    main()
