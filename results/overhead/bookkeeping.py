"""What a trial costs besides compiling and timing: asking, storing and telling, on an instant backend.

The table is a made-up one of 2,320 tactics with five parameters. Writes milliseconds per trial:

    python results/overhead/bookkeeping.py --out FOLDER
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write

from tuner.kernel.problem_data import ProblemData
from tuner.outcome import Origin, Timing
from tuner.search import DEFAULT_SAMPLER, Search
from tuner.search.constraints import Constraint
from tuner.search.params import choice, integers, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic
from tuner.store.journal import open_journal
from tuner.store.study_data import StudyIdentity

TRIALS, RUNS = 200, 5
SPACE = Space(
    (
        powers_of_two("BLOCK_M", 16, 512),
        powers_of_two("BLOCK_N", 16, 512),
        integers("num_stages", 1, 8),
        choice("num_warps", 1, 2, 4, 8, 16),
        choice("order", "row", "column"),
    ),
    (
        Constraint(
            "memory", lambda BLOCK_M, BLOCK_N, num_stages: BLOCK_M * BLOCK_N * num_stages <= 1 << 17, "too large"
        ),
    ),
)
DEFAULT = {"BLOCK_M": 64, "BLOCK_N": 64, "num_stages": 2, "num_warps": 4, "order": "row"}
IDENTITY = StudyIdentity(ProblemData("example::made_up", {"N": 1}), "N=1", Origin("replay", "prediction", "none"))


def time_us(config: Config) -> float:
    """A smooth cost with its minimum inside the space."""
    m, n, stages, warps = (float(config[k]) for k in ("BLOCK_M", "BLOCK_N", "num_stages", "num_warps"))
    return 10 + abs(m - 128) / 64 + abs(n - 256) / 128 + (stages - 3) ** 2 + abs(warps - 8) + (config["order"] == "row")


def measure(folder: Path, url: str | None, batch: int, trials: int) -> dict[str, float]:
    """Milliseconds per trial of one run."""
    journal = open_journal(folder, url, IDENTITY, SPACE)
    search = Search(SPACE, DEFAULT, seed=0, budget=trials)
    spent = {"ask": 0.0, "store": 0.0, "tell": 0.0}
    number = 0

    def lap(part: str, since: float) -> float:
        now = time.perf_counter()
        spent[part] += now - since
        return now

    while number < trials:
        clock = time.perf_counter()
        configs = search.ask(min(batch, trials - number))
        clock = lap("ask", clock)
        for config in configs:
            facts = {f"fact_{i}": i / 7 for i in range(12)}
            journal.add(number, Tactic(config), Timing(time_us(config), "prediction", "model", facts=facts))
            number += 1
        clock = lap("store", clock)
        for config in configs:
            search.tell(config, time_us(config))
        lap("tell", clock)
    per_trial = {part: 1e3 * seconds / trials for part, seconds in spent.items()}
    return {**per_trial, "total": sum(per_trial.values())}


def main() -> None:
    given = Arguments(__doc__).read()
    trials, repeats = (10, 1) if given.dry else (TRIALS, RUNS)
    found = {}
    for storage in ("journal", "sqlite"):
        for batch in (1, 8):
            runs = []
            for _ in range(repeats):
                with tempfile.TemporaryDirectory() as made:
                    url = f"sqlite:///{made}/trials.db" if storage == "sqlite" else None
                    runs.append(measure(Path(made), url, batch, trials))
            found[f"{storage}, batch {batch}"] = {part: statistics.median(r[part] for r in runs) for part in runs[0]}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    setting = {"machine": machine, "sampler": DEFAULT_SAMPLER, "trials": trials, "space": SPACE.size, "runs": repeats}
    print(found)
    write(given.out / "bookkeeping.json", {**setting, "ms_per_trial": found})


if __name__ == "__main__":
    main()
