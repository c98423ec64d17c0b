"""What a trial costs besides compiling and timing: asking, storing and telling, on an instant backend; and reopening.

The table is a made-up one of 2,320 tactics with five parameters. Writes milliseconds of CPU time per trial, and seconds
of CPU time to open a journal of 10,000 trials in a fresh process, imports included:

    python results/overhead/bookkeeping.py --out FOLDER
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
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

TRIALS, RUNS = (200, 2000), 1
REOPENED = 10_000
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
    """Milliseconds of CPU time per trial of one run."""
    journal = open_journal(folder, url, IDENTITY, SPACE)
    search = Search(SPACE, DEFAULT, seed=0, budget=trials)
    spent = {"ask": 0.0, "store": 0.0, "tell": 0.0}
    number = 0

    def lap(part: str, since: float) -> float:
        now = time.process_time()
        spent[part] += now - since
        return now

    while number < trials:
        clock = time.process_time()
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


def reopened(folder: Path, trials: int) -> float:
    """Seconds of CPU time that a fresh process takes to open a journal of so many trials."""
    journal = open_journal(folder, None, IDENTITY, SPACE)
    for number in range(trials):
        config = SPACE.point(number % SPACE.size)
        facts = {f"fact_{i}": i / 7 for i in range(12)}
        journal.add(number, Tactic(config), Timing(time_us(config), "measurement", "median", facts=facts))
    before = os.times()
    subprocess.run([sys.executable, __file__, "--out", str(folder), "--open"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--open", action="store_true", help="open the journal in --out, and nothing else")
    given = arguments.read()
    if given.open:
        open_journal(given.out, None, IDENTITY, SPACE)
        return
    found: dict[str, dict[str, float]] = {}
    runs = 1 if given.dry else RUNS
    for storage, batch, trials in (("journal", 1, TRIALS[0]), ("journal", 1, TRIALS[1]), ("sqlite", 1, TRIALS[0])):
        count = 10 if given.dry else trials
        rows = []
        for _ in range(runs if trials == TRIALS[0] else 1):
            with tempfile.TemporaryDirectory() as made:
                url = f"sqlite:///{made}/trials.db" if storage == "sqlite" else None
                rows.append(measure(Path(made), url, batch, count))
        found[f"{storage}, {count} trials"] = {part: statistics.median(r[part] for r in rows) for part in rows[0]}
    with tempfile.TemporaryDirectory() as made:
        count = 10 if given.dry else REOPENED
        opened = {"trials": count, "cpu_s": reopened(Path(made), count)}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    load = os.getloadavg()[0]
    setting = {"machine": machine, "load_average_1min": load, "sampler": DEFAULT_SAMPLER, "space": SPACE.size}
    print(found, opened)
    write(given.out / "bookkeeping.json", {**setting, "runs": runs, "cpu_ms_per_trial": found, "reopening": opened})


if __name__ == "__main__":
    main()
