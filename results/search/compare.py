"""Compare samplers on recorded tables (given as files) or on the synthetic ones.

    python results/search/compare.py --out FOLDER [--name recorded] [--synthetic] [--samplers A,B] [--seeds N]
        [--trials 8,16] [--batch N] [--first] [TABLE…]

Writes the ratio of best so far to optimum, per seed, and prints a line per sampler and table.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import synthetic

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write_lines

from tuner.search import SAMPLERS
from tuner.store.tables.table import read_table
from tuner.tuning.replay import SEEDS, TRIALS, replay


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--name", default="recorded", help="of the file that is written")
    parser.add_argument("--synthetic", action="store_true", help="use the synthetic tables as well")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--trials", default=",".join(map(str, TRIALS)))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--first", action="store_true", help="start from the table's first point, not a random one")
    given = parser.read()
    trials = [int(n) for n in given.trials.split(",")]
    tables = [read_table(path) for path in given.tables] + (synthetic.tables() if given.synthetic else [])
    if given.dry:
        given.samplers, given.seeds, trials, tables = "random,bayes", 1, [8], synthetic.tables(("rugged-1",))
    rows = []
    for sampler in given.samplers.split(","):
        for table in tables:
            default = table.space.point(0) if given.first else None
            start = time.process_time()
            result = replay(table, sampler, seeds=range(given.seeds), trials=trials, batch=given.batch, default=default)
            cpu_ms = (time.process_time() - start) * 1e3 / given.seeds / min(trials[-1], table.space.size)
            ratios = {n: [None if r is None else round(r, 4) for r in of] for n, of in result.ratios.items()}
            rows.append(
                {
                    "sampler": sampler,
                    "table": table.name,
                    "batch": given.batch,
                    "default": "first" if given.first else "random",
                    "cpu_ms_per_trial": round(cpu_ms, 2),
                    "ratios": ratios,
                }
            )
            medians = "  ".join(f"{n}: {median(r or float('inf') for r in of):.3f}" for n, of in ratios.items())
            print(f"{sampler:17} {table.name:22} batch {given.batch}  {cpu_ms:5.1f} ms/trial  {medians}", flush=True)
    write_lines(given.out / f"{given.name}.json", rows)


if __name__ == "__main__":
    main()
