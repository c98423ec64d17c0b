"""Many shapes on the GPU: exhaustive tables over a grid of batch sizes, what sharing saves, and the portfolio.

    python results/h200/shapes/study.py --out FOLDER measure [--seconds S] [--kernels NAME…]  # on a GPU
    python results/h200/shapes/study.py --out FOLDER replay  # anywhere, on these tables

Softmax (rows of 4096, M = 1 … 4096) and a skinny gemm (N = K = 4096, M = 1 … 4096), every tactic of a space at every
shape: the gemm's space is cut down, so that it can be exhausted. Tables that exist are kept, and when the seconds are
over no new one is begun. On these tables, each shape is tuned alone with 64 trials, and all together as `tuner tune`
tunes a grid. The real commands, `tuner tune` and `tuner portfolio`, run on the whole space over every other of these
sizes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import ROOT, Arguments, command, machine, write
from recorded import record, search


@dataclass(frozen=True)
class Grid:
    """The shapes of a kernel: sizes of M, and what is the same for all.

    Attributes:
        sizes: of the tables.
        asked: of the commands.
    """

    sizes: list[int]
    asked: list[int]
    fixed: dict[str, int]


SIZES = [1 << i for i in range(13)]
TRIALS, SEEDS = 64, 10
GRIDS = {
    "softmax": Grid(SIZES, SIZES[::2], {"N": 4096}),
    "gemm": Grid(SIZES, SIZES[::2], {"N": 4096, "K": 4096}),
}
DRY = {"softmax": Grid([1, 4], [1, 4], {"N": 512})}
SIMULATED = dry.Simulated(str(ROOT / "kernels" / "softmax.py"), ("M", "N"), dtypes={"T": "fp16"})
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
    arguments = Arguments(__doc__)
    arguments.add_argument("part", nargs="?", choices=("measure", "replay"), help="of the study; both without it")
    arguments.add_argument("--seconds", type=float, default=240.0)
    arguments.add_argument("--kernels", nargs="*", choices=list(GRIDS), default=list(GRIDS))
    given = arguments.read(SIMULATED)
    grids = DRY if given.dry else {name: GRIDS[name] for name in given.kernels}
    path = given.out / "data.json"
    data: dict[str, Any] = {"trials": TRIALS, "kernels": {}}
    if path.exists():
        data = json.loads(path.read_text())
    until = time.monotonic() + given.seconds
    for name, grid in grids.items() if given.part != "replay" else ():
        if "commands" not in data["kernels"].get(name, {}):
            data["kernels"][name] = {"machine": machine(), "commands": run_commands(name, grid, given.out)}
            write(path, data)
        measure(name, grid, given.out, until)
    for name in data["kernels"] if given.part != "measure" else ():
        tables = recorded(name, given.out)
        if len(tables) > 1:
            data["kernels"][name] |= replay(name, tables, 1 if given.dry else SEEDS)
        write(path, data)
        found = {k: v for k, v in data["kernels"][name].items() if k in ("cost", "cover")}
        print(name, json.dumps(found), flush=True)


def run_commands(name: str, grid: Grid, out: Path) -> dict[str, Any]:
    """`tuner tune` and `tuner portfolio` on the whole space: what they cost and what comes out."""
    fixed = ", ".join(f"{d} = {n}" for d, n in grid.fixed.items())
    trials = dry.TRIALS if dry.running() else TRIALS
    config = out / f"{name}.toml"
    config.write_text(
        CONFIG.format(kernel=ROOT / "kernels" / f"{name}.py", fixed=fixed, sizes=grid.asked, trials=trials)
    )
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = ["--backend", "cuda", "--out", folder, "--cache", f"{folder}/tactics.json", "--json"]
        for verb in ("tune", "portfolio"):
            started = time.perf_counter()
            done = command(verb, str(config.resolve()), *places)
            found[f"{verb}_seconds"] = time.perf_counter() - started
            if done.returncode:
                return {**found, "error": done.stderr.strip().splitlines()[-1]}
            document = json.loads(done.stdout)
            if verb == "tune":
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


def measure(name: str, grid: Grid, out: Path, until: float) -> None:
    """Every tactic at every size, as T4 tables; those of earlier runs are kept."""
    from tuner import Problem
    from tuner.kernel.loader import load_kernel

    kernel = load_kernel(f"{name}.py", ROOT / "kernels")
    if name == "gemm":
        (out / "fewer_gemm.py").write_text(SMALLER.format(path=str(ROOT / "kernels" / "gemm.py")))
        kernel = load_kernel("fewer_gemm.py:kernel", out.resolve())
    for size in grid.sizes:
        path = out / f"{name}_M{size}_T4.json.gz"
        if not path.exists() and time.monotonic() < until:
            record(path, Problem.of(kernel, {"M": size, **grid.fixed}, {"T": "fp16"}), finalists=1)


def replay(name: str, tables: dict[int, Any], repeats: int) -> dict[str, Any]:
    """Tune every shape alone, and all of them sharing, with so many seeds on tables; then the portfolio of these."""
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
    for seed in range(repeats):
        tuned: list[Tuned] = []
        cost = {"alone": 0, "shared": 0}
        for position in order([(log2(size),) for size in sizes]):
            size = sizes[position]
            table, here = tables[size], (log2(size),)
            alone, _ = search(table, default, seed, options.trials)
            cost["alone"] += len(alone)
            budget = options.further_trials if tuned else options.trials
            known = [t.config for t in seeds(here, tuned, STARTS)]
            shared, times = search(table, default, seed, budget, known, elsewhere(here, table.space, tuned))
            cost["shared"] += len(shared)
            tuned.append(Tuned(here, times))
            shapes[str(size)]["alone"].append(round(alone[-1] / table.optimum_us, 5))
            shapes[str(size)]["shared"].append(round(shared[-1] / table.optimum_us, 5))
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


if __name__ == "__main__":
    main()
