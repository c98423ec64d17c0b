"""Replay exhaustive tables: what a shape costs alone, and what it costs once another shape of the kernel was tuned.

    python results/shapes/study.py --out FOLDER [--seeds 20]

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

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write_lines
from recorded import TABLES, as_recorded, search

ALONE, SHARED = 64, 26
COUNTS = (1, 2, 4, 8, 12, 16, 20, 26, 32, 48, 64)


def main() -> None:
    from tuner.store.tables.table import read_table

    arguments = Arguments(__doc__)
    arguments.add_argument("--seeds", type=int, default=20)
    given = arguments.read()
    kernels: dict[str, list[Any]] = {}
    for path in sorted(TABLES.glob("increment*.json.gz" if given.dry else "*.json.gz")):
        name = re.split(r"_[A-Z]\d", path.name)[0]
        kernels.setdefault(name, []).append(read_table(path))
    rows = []
    for name, (one, other) in kernels.items():
        for first, second in ((one, other), (other, one)):
            row = pair(name, first, second, 1 if given.dry else given.seeds)
            rows.append(row)
            means = {how: {n: fmean(r) for n, r in row[how].items()} for how in ("alone", "shared")}
            shown = "  ".join(
                f"{n}: {mean:.4f} ({means['alone'][n]:.4f})" for n, mean in means["shared"].items() if n > 4
            )
            print(f"{second.name:30} shared (alone) {shown}  alone 64: {means['alone'][64]:.4f}", flush=True)
    write_lines(given.out / "replay.json", rows)


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


if __name__ == "__main__":
    main()
