"""Whether a short search finds the best: twenty seeds of gemm at 32 trials against all 144 configurations.

    python results/h200/tuning_time/seeds.py --out FOLDER

Every configuration is timed once; then come the searches, each in a study of its own. All winners are then timed side
by side with the fastest of all.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments, machine, open_cuda, write
from study import chosen

SEEDS, TRIALS, NAME = 20, 32, "gemm"


def main() -> None:
    given = Arguments(__doc__).read()
    from tuner import tune

    name, seeds, trials = ("increment", 1, dry.TRIALS) if given.dry else (NAME, SEEDS, TRIALS)
    problem = chosen(name)
    found = []
    for seed in (None, *range(seeds)):
        with tempfile.TemporaryDirectory() as folder:
            count = trials if seed is not None else dry.TRIALS if given.dry else problem.space.size
            places = {"out": Path(folder), "cache": Path(folder) / "tactics.json"}
            began = time.perf_counter()
            result = tune(problem, backend="cuda", trials=count, seed=seed or 0, **places)
            seconds = time.perf_counter() - began
        found.append({"seed": seed, "trials": count, "seconds": seconds, "winner": result.winner.config})
        print(seed, round(seconds, 2), result.winner, flush=True)
    winners = list({result["winner"].__repr__(): result["winner"] for result in found}.values())
    backend = open_cuda(problem)
    try:
        times = [outcome.time_us for outcome in backend.confirm(winners)]
    finally:
        backend.close()
    best = min(times)
    for result in found:
        result["over_best"] = times[winners.index(result["winner"])] / best
    within = sum(result["over_best"] <= 1.01 for result in found[1:]) / max(len(found) - 1, 1)
    print(f"{100 * within:.0f} % of the searches found a winner within 1 % of the best", flush=True)
    write(given.out / "seeds.json", {"machine": machine(), "kernel": name, "within_1_percent": within, "runs": found})


if __name__ == "__main__":
    main()
