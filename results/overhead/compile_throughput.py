"""How many tactics of `kernels/increment.py` are compiled per second, by number of worker processes.

Each run starts without workers and with an empty store; a second one takes all from the store and
starts no worker. Writes seconds of wall time:

    python results/overhead/compile_throughput.py --out FOLDER
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, Arguments, write

from tuner import Problem
from tuner.compile.artifact import Artifact
from tuner.compile.blobs import Store
from tuner.compile.compiler import Compiler
from tuner.gpu.catalog import find_device
from tuner.kernel.loader import load_kernel
from tuner.search.tactic import Config

TACTICS = 40
RUNS = 3
TARGET = find_device("h200").target


def compiler(workers: int, store: Store | None) -> Compiler:
    """The service as `tuner tune` sets it up."""
    return Compiler(TARGET, store=store, workers=workers, timeout_s=60, memory_bytes=8 << 30)


def seconds(problem: Problem, configs: Sequence[Config], workers: int, folder: Path) -> float:
    """Wall time from the first request to the last answer."""
    with closing(compiler(workers, Store(folder))) as service:
        start = time.perf_counter()
        answers = [service.submit(problem, config) for config in configs]
        if not all(isinstance(answer.result(), Artifact) for answer in answers):
            raise SystemExit("error: a tactic was not compiled, so the time means nothing")
        return time.perf_counter() - start


def measure(problem: Problem, configs: Sequence[Config], workers: int, repeats: int) -> dict[str, float]:
    """Medians over the runs, cold and from the store."""
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(seconds(problem, configs, workers, Path(folder)))
            warm.append(seconds(problem, configs, workers, Path(folder)))
    median = statistics.median(cold)
    return {"cold_s": median, "tactics_per_s": len(configs) / median, "from_store_s": statistics.median(warm)}


def main() -> None:
    given = Arguments(__doc__).read()
    tactics, repeats, most = (2, 1, 1) if given.dry else (TACTICS, RUNS, 32)
    cores = len(os.sched_getaffinity(0))
    problem = Problem.of(load_kernel("kernels/increment.py", ROOT), {"N": 64 << 20})
    configs = problem.space.sample(random.Random(0), tactics)
    with closing(compiler(0, None)) as idle:
        versions = idle.versions(problem)
    setting = {
        "machine": f"{cores} cores, {platform.machine()}, Python {platform.python_version()}",
        "compiler": dict(versions),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average_1min": os.getloadavg()[0],
        "tactics": len(configs),
        "runs": repeats,
    }
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n <= min(cores, most)]
    found = {str(n): measure(problem, configs, n, repeats) for n in counts}
    print(found)
    write(given.out / "compile_throughput.json", {**setting, "workers": found})


if __name__ == "__main__":
    main()
