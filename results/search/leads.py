"""What a prediction that leads the search is worth, and what a bad one costs; and when the search should end.

    python results/search/leads.py --out FOLDER [--tables TABLE…]

On the tables that an H200 measured and on what the model predicts for them (`predictions.json`, beside this script):
how many trials until within 1 % of the best, with no prediction, with the model's, with one that is random and with
one that is the reverse of the model's. Four tactics are on the way at a time. Then, on the same tables and on those
that are named, which nobody predicts, when the search ends by itself, and what it has missed then.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

import predictions

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write_lines

from tuner.outcome import Timing
from tuner.search import Search
from tuner.search.tactic import Tactic, canonical
from tuner.store.tables.table import read_table
from tuner.tuning.leads import MOST, PICKED, picked

SEEDS, TRIALS, ON_THE_WAY, NEAR = 3, 64, 4, 1.01


def course(table: Any, default: Any, leads: list[Any], seed: int, most: int) -> tuple[list[float], int | None]:
    """Best so far over the optimum after each trial; and after how many the search would have ended by itself."""
    search = Search(table.space, default, seed=seed, budget=most, exhaust=False)
    waiting: list[Any] = [*search.ask(1)]
    search.lead(leads)
    ratios: list[float] = []
    best, ended = float("inf"), None
    while len(ratios) < most:
        if ended is None and search.satisfied:
            ended = len(ratios) + len(waiting)
        while len(waiting) < ON_THE_WAY and len(ratios) + len(waiting) < most and (configs := search.ask(1)):
            waiting += configs
        if not waiting:
            break
        config = waiting.pop(0)
        outcome = table.outcome(config)
        time_us = outcome.time_us if isinstance(outcome, Timing) else None
        search.tell(config, time_us)
        best = min(best, float("inf") if time_us is None else time_us)
        ratios.append(best / table.optimum_us)
    return ratios, ended


def led(table: Any, default: Any, times_us: Mapping[str, float], seed: int) -> list[Any]:
    """What a search of the predictions would try first."""
    search = Search(table.space, default, seed=seed, budget=MOST)
    waiting: list[Any] = []
    found: dict[Tactic, float] = {}
    asked = 0
    while waiting or asked < MOST:
        while len(waiting) < ON_THE_WAY and asked < MOST and (configs := search.ask(1)):
            waiting, asked = waiting + configs, asked + 1
        if not waiting:
            break
        config = waiting.pop(0)
        time_us = times_us.get(canonical(config))
        search.tell(config, time_us)
        if time_us is not None:
            found[Tactic(config)] = time_us
    return picked(found, PICKED)


def reversed_times(times_us: Mapping[str, float]) -> dict[str, float]:
    """Predictions that take the fastest for the slowest."""
    return {text: 1e6 / time_us for text, time_us in times_us.items()}


def random_times(times_us: Mapping[str, float], seed: int) -> dict[str, float]:
    """Predictions that know nothing."""
    rng = random.Random(seed)
    return {text: rng.random() for text in times_us}


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--tables", type=Path, nargs="*", default=[])
    given = parser.read()
    known = {
        row["table"]: row["predicted_us"]
        for row in json.loads((Path(__file__).parent / "predictions.json").read_text())
    }
    makers: dict[str, Callable[[Mapping[str, float], int], Mapping[str, float]]] = {
        "none": lambda times_us, seed: {},
        "model": lambda times_us, seed: times_us,
        "random": random_times,
        "reversed": lambda times_us, seed: reversed_times(times_us),
    }
    seeds, rows = range(1 if given.dry else SEEDS), []
    for path, problem in predictions.problems():
        table = read_table(path)
        name, default = table.name, problem.kernel.default
        if canonical(default) not in table.outcomes:  # the tables of shapes hold a part of the space
            default = json.loads(sorted(table.outcomes)[0])
        if given.dry and "increment" not in name:
            continue
        for how, make in makers.items():
            until, ended, missed = [], [], []
            for seed in seeds:
                times_us = make(known[name], seed)
                leads = led(table, default, times_us, seed) if times_us else []
                ratios, end = course(table, default, leads, seed, TRIALS)
                until.append(next((n for n, ratio in enumerate(ratios, 1) if ratio <= NEAR), len(ratios)))
                ended.append(end)
                missed.append(round(ratios[(end or len(ratios)) - 1], 4))
            rows.append({"table": name, "size": table.space.size, "prediction": how, "trials": until, "ended": ended})
            rows[-1]["ratio_at_end"] = missed
        write_lines(given.out / "leads.json", rows)
        print(name, {r["prediction"]: round(fmean(r["trials"]), 1) for r in rows[-len(makers) :]}, flush=True)
    for path in given.tables:
        table = read_table(path)
        ended, missed, final = [], [], []
        for seed in range(3):
            default = table.space.point(random.Random(seed).randrange(table.space.size))
            ratios, end = course(table, default, [], seed, TRIALS)
            ended.append(end)
            missed.append(round(ratios[(end or len(ratios)) - 1], 4))
            final.append(round(ratios[-1], 4))
        rows.append({"table": table.name, "size": table.space.size, "ended": ended, "ratio_at_end": missed})
        rows[-1]["ratio_at_64"] = final
        print(table.name, ended, missed, flush=True)
    write_lines(given.out / "leads.json", rows)
    for how in makers:
        of = [r for r in rows if r.get("prediction") == how]
        print(f"{how:9} trials to 1 %: {fmean(n for r in of for n in r['trials']):.2f}", flush=True)
    ends = [
        (e, m)
        for r in rows
        if r.get("prediction", "model") == "model"
        for e, m in zip(r["ended"], r["ratio_at_end"], strict=True)
    ]
    print(f"ended after {median(e or TRIALS for e, _ in ends)} in the median", flush=True)


if __name__ == "__main__":
    main()
