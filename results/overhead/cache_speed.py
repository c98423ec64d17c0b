"""Time opening a cache of 10,000 entries and looking tactics up in it.

    python results/overhead/cache_speed.py --out FOLDER [--entries 10000]

The entries are distinct shapes of one kernel, spread over its data types and three devices, so that a
search for the nearest shape has about a thousand to choose from.
"""

from __future__ import annotations

import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, Arguments, write

from tuner import Problem, Tactic
from tuner.kernel.loader import load_kernel
from tuner.outcome import Origin, Timing
from tuner.store.cache import Cache, Tier, encode
from tuner.store.entry import Entry, entry_of

KERNEL = load_kernel("kernels/softmax.py", ROOT)
SOURCE = "0" * 64
CAPABILITIES = {"NVIDIA H200": (9, 0), "NVIDIA H100": (9, 0), "NVIDIA L4": (8, 9), "NVIDIA A100": (8, 0)}
RECORDED = list(CAPABILITIES)[:3]


def make_problem(rng: random.Random, index: int) -> Problem:
    dtypes = KERNEL.dtypes["T"]
    dims = {"M": rng.randrange(1, 1 << 16), "N": rng.randrange(256, 1 << 16)}
    return Problem.of(KERNEL, dims, {"T": dtypes[index % len(dtypes)]})


ENVIRONMENT = {"driver": "580.82", "triton": "3.6.0", "tuner": "0.1.0"}


def make_entry(rng: random.Random, problem: Problem, device: str) -> Entry:
    winner, *ties = (Tactic(c) for c in problem.space.sample(rng, 3))
    default = KERNEL.default_tactic
    confirmed = {
        t: Timing(us, "measurement", "median", samples_us=tuple(us + rng.random() for _ in range(30)))
        for t in (winner, default, *ties)
        for us in [rng.uniform(10, 500)]
    }
    return entry_of(
        problem,
        SOURCE,
        origin=Origin("cuda", "measurement", device, CAPABILITIES[device], ENVIRONMENT),
        confirmed=confirmed,
        winner=winner,
        default=default,
        ties=ties,
        trials=64,
    )


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def open_seconds(path: Path) -> float:
    """Seconds to open a cache in a process that has done nothing else."""
    code = (
        "import pathlib, sys, time; from tuner.store.cache import Cache; path = pathlib.Path(sys.argv[1]); "
        "start = time.perf_counter(); cache = Cache.open(path); print(time.perf_counter() - start)"
    )
    return float(subprocess.check_output([sys.executable, "-c", code, str(path)]))


def lookup_us(cache: Cache, tier: Tier, asked: list[tuple[Problem, str]]) -> dict[str, float]:
    """Median and 99 % quantile of the time of a lookup, in microseconds."""

    def ask(problem: Problem, device: str) -> Tier:
        return cache.lookup(problem, SOURCE, backend="cuda", device=device, capability=CAPABILITIES[device]).tier

    assert {ask(problem, device) for problem, device in asked} == {tier}
    times = [seconds(lambda p=problem, d=device: ask(p, d)) * 1e6 for problem, device in asked]
    return {"median": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--entries", type=int, default=10_000)
    given = arguments.read()
    count, lookups, opened = (100, 100, 1) if given.dry else (given.entries, 2000, 9)
    rng = random.Random(0)
    recorded = [(make_problem(rng, i), RECORDED[i // 3 % 3]) for i in range(count)]
    other = [make_problem(rng, i) for i in range(lookups)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.json"
        path.write_bytes(encode(Cache(make_entry(rng, *r) for r in recorded)))
        open_s = [open_seconds(path) for _ in range(opened)]
        file_bytes = path.stat().st_size
        cache = Cache.open(path)
    first = seconds(lambda: cache.lookup(other[0], SOURCE, backend="cuda", device="NVIDIA H200"))
    report = {
        "python": platform.python_version(),
        "entries": len(cache),
        "file_bytes": file_bytes,
        "open_s": {"median": statistics.median(open_s), "max": max(open_s)},
        "first_inexact_lookup_s": first,
        "lookup_us": {
            "exact": lookup_us(cache, "exact", rng.sample(recorded, min(lookups, count))),
            "nearest": lookup_us(cache, "nearest", [(p, "NVIDIA H200") for p in other]),
            "default": lookup_us(cache, "default", [(p, "NVIDIA A100") for p in other]),
        },
    }
    print(report["open_s"], report["lookup_us"])
    write(given.out / "cache_speed.json", report)


if __name__ == "__main__":
    main()
