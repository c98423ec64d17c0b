"""Many shapes on the GPU: exhaustive tables over a grid of batch sizes, what sharing saves, and the portfolio.

    python results/h200/shapes/study.py OUT_FOLDER measure [SECONDS [KERNEL…]]    # on a GPU
    python results/h200/shapes/study.py OUT_FOLDER replay                         # anywhere, on these tables

Softmax (rows of 4096, M = 1 … 4096) and a skinny gemm (N = K = 4096, M = 1 … 4096), every tactic of a space at every
shape: the gemm's space is cut down, so that it can be exhausted. Tables that exist are kept, and after SECONDS no new
one is begun. On these tables, each shape is tuned alone with 64 trials, and all together as `tuner tune` tunes a grid.
The real commands, `tuner tune` and `tuner portfolio`, run on the whole space over every other of these sizes.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, machine, write

SIZES = [1 << i for i in range(13)]
TRIALS, SEEDS = 64, 10
FIXED = {"softmax": {"N": 4096}, "gemm": {"N": 4096, "K": 4096}}
SMALLER = """from dataclasses import replace
from pathlib import Path

from tuner.kernel.loader import load_kernel

whole = load_kernel({path!r}, Path())
fewer = {{"GROUP_M": (8,), "PARTS": (1,), "PROGRAMS": (132,), "num_stages": (3, 4)}}
kernel = replace(whole, params=[replace(p, values=fewer.get(p.name, p.values)) for p in whole.params])
"""
"""The gemm for its tables: 64 tactics instead of 512."""
CONFIG = """version = 1
kernel = "{kernel}"

[problem]
dims = {{ M = {{ values = {sizes} }}, {fixed} }}
dtypes = {{ T = "fp16" }}

[search]
trials = {trials}
"""


def main() -> None:
    out, mode = Path(sys.argv[1]), sys.argv[2]
    out.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"trials": TRIALS, "kernels": {}}
    if (out / "data.json").exists():
        data = json.loads((out / "data.json").read_text())
    if mode == "replay":
        for name in data["kernels"]:
            tables = recorded(name, out)
            if len(tables) > 1:
                data["kernels"][name] |= replay(name, tables)
            write(out / "data.json", data)
            found = {k: v for k, v in data["kernels"][name].items() if k in ("cost", "cover")}
            print(name, json.dumps(found), flush=True)
        return
    until = time.monotonic() + (float(sys.argv[3]) if len(sys.argv) > 3 else 240.0)
    for name in sys.argv[4:] or list(FIXED):
        if "commands" not in data["kernels"].get(name, {}):
            data["kernels"][name] = {"machine": machine(), "commands": run_commands(name, out)}
            write(out / "data.json", data)
        measure(name, out, until)


def run_commands(name: str, out: Path) -> dict[str, Any]:
    """`tuner tune` and `tuner portfolio` on the whole space: what they cost and what comes out."""
    fixed = ", ".join(f"{d} = {n}" for d, n in FIXED[name].items())
    config = out / f"{name}.toml"
    config.write_text(
        CONFIG.format(kernel=ROOT / "kernels" / f"{name}.py", fixed=fixed, sizes=SIZES[::2], trials=TRIALS)
    )
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = ["--backend", "cuda", "--out", folder, "--cache", f"{folder}/tactics.json", "--json"]
        for command in ("tune", "portfolio"):
            program = [sys.executable, "-c", "from tuner.cli import main; main()", command, str(config), *places]
            started = time.perf_counter()
            done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
            found[f"{command}_seconds"] = time.perf_counter() - started
            if done.returncode:
                return {**found, "error": done.stderr.strip().splitlines()[-1]}
            document = json.loads(done.stdout)
            if command == "tune":
                found["trials"] = [job["trials"] for job in document["jobs"]]
                found["winners"] = {job["problem"]: job["winner"] for job in document["jobs"]}
            else:
                found["portfolios"] = document["portfolios"]
    return found


def recorded(name: str, out: Path) -> dict[int, Any]:
    """The tables by size."""
    from tuner.store.tables.table import read_table

    paths = {size: out / f"{name}_M{size}_T4.json.gz" for size in SIZES}
    return {size: read_table(path) for size, path in paths.items() if path.exists()}


def measure(name: str, out: Path, until: float) -> None:
    """Every tactic at every size, as T4 tables; those of earlier runs are kept."""
    from tuner.backends.select import BackendChoice
    from tuner.kernel.loader import load_kernel
    from tuner.kernel.problem import Problem
    from tuner.store.tables.t4 import document
    from tuner.tuning.config import load_config
    from tuner.tuning.job import Places, Silent, run_job

    config = load_config(ROOT / "configs" / f"{name}.toml")
    kernel = config.problems[0].kernel
    if name == "gemm":
        (out / "fewer_gemm.py").write_text(SMALLER.format(path=str(ROOT / "kernels" / "gemm.py")))
        kernel = load_kernel("fewer_gemm.py:kernel", out.resolve())
    for size in SIZES:
        path = out / f"{name}_M{size}_T4.json.gz"
        if not path.exists() and time.monotonic() < until:
            problem = Problem.of(kernel, {"M": size, **FIXED[name]}, {"T": "fp16"})
            search = type(config.search)(trials=problem.space.size, finalists=1)
            job = dataclasses.replace(config, problems=(problem,), search=search)
            with tempfile.TemporaryDirectory() as folder:
                places = Places(Path(folder), Path(folder) / "tactics.json")
                started = time.perf_counter()
                result = run_job(job, BackendChoice.of("cuda"), places, Silent())[0]
            info = {"device": result.origin.device, "kernel": name, "problem": problem.label, **machine()}
            content = document(((t.tactic, t.outcome) for t in result.trials), info)
            path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
            print(f"{path.name}: {len(result.trials)} tactics in {time.perf_counter() - started:.1f} s", flush=True)


def replay(name: str, tables: dict[int, Any]) -> dict[str, Any]:
    """Tune every shape alone, and all of them sharing, on recorded tables; then the portfolio of these tables."""
    from math import log2

    from tuner.outcome import Timing
    from tuner.search.tactic import Tactic
    from tuner.tuning.config import load_config
    from tuner.tuning.cover import smallest
    from tuner.tuning.neighbours import SEEDS as STARTS
    from tuner.tuning.neighbours import Tuned, elsewhere, order, seeds
    from tuner.tuning.options import SearchOptions

    default = load_config(ROOT / "configs" / f"{name}.toml").problems[0].kernel.default
    options = SearchOptions(trials=TRIALS)
    sizes = list(tables)
    shapes: dict[str, Any] = {str(size): {"alone": [], "shared": []} for size in sizes}
    costs: dict[str, list[int]] = {"alone": [], "shared": []}
    for seed in range(SEEDS):
        tuned: list[Tuned] = []
        cost = {"alone": 0, "shared": 0}
        for position in order([(log2(size),) for size in sizes]):
            size = sizes[position]
            table, here = tables[size], (log2(size),)
            best_alone, _, count = search(table, default, seed, options.trials, (), ())
            cost["alone"] += count
            budget = options.further_trials if tuned else options.trials
            known = [t.config for t in seeds(here, tuned, STARTS)]
            best, times, count = search(table, default, seed, budget, known, elsewhere(here, table.space, tuned))
            cost["shared"] += count
            tuned.append(Tuned(here, times))
            shapes[str(size)]["alone"].append(round(best_alone / table.optimum_us, 5))
            shapes[str(size)]["shared"].append(round(best / table.optimum_us, 5))
        for how, trials in cost.items():
            costs[how].append(trials)
    outcomes = {
        f"M={size}": {
            Tactic(config): o.time_us for config in table.space if isinstance(o := table.outcome(config), Timing)
        }
        for size, table in tables.items()
    }
    started = time.perf_counter()
    cover = smallest(outcomes.values(), 0.02)
    return {
        "cost": median(costs["shared"]) / median(costs["alone"]),
        "trials_alone": median(costs["alone"]),
        "trials_shared": median(costs["shared"]),
        **{f"mean_ratio_{how}": fmean(fmean(s[how]) for s in shapes.values()) for how in ("alone", "shared")},
        **{f"worst_ratio_{how}": max(max(s[how]) for s in shapes.values()) for how in ("alone", "shared")},
        "cover": {
            "tactics": [t.config for t in cover.tactics],
            "method": cover.method,
            "seconds": time.perf_counter() - started,
            "distinct_winners": len({min(at, key=lambda t: at[t]) for at in outcomes.values()}),
        },
        "shapes": shapes,
    }


def search(
    table: Any, default: Any, seed: int, budget: int, starts: Any, known: Any
) -> tuple[float, dict[Any, float], int]:
    """The best time, the time of every tactic tried, and how many were."""
    from tuner.outcome import Timing
    from tuner.search import Search
    from tuner.search.tactic import Tactic

    asked = Search(table.space, default, seed=seed, budget=budget, seeds=starts, elsewhere=known)
    times: dict[Tactic, float] = {}
    count = 0
    while count < budget and (configs := asked.ask(1)):
        count += 1
        outcome = table.outcome(configs[0])
        time_us = outcome.time_us if isinstance(outcome, Timing) else None
        asked.tell(configs[0], time_us)
        if time_us is not None:
            times[Tactic(configs[0])] = time_us
    return min(times.values()), times, count


if __name__ == "__main__":
    main()
