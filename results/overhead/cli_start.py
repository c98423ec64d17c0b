"""How long the command takes to start, and a small job when everything is in the compile cache.

Writes seconds of wall time:

    python results/overhead/cli_start.py --out FOLDER
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import dry
from common import ROOT, Arguments, write

RUNS = 20
COMMAND = str(Path(sys.executable).parent / "tuner")


def seconds(*arguments: str, environment: Mapping[str, str]) -> float:
    """Wall time of one run of the command."""
    start = time.perf_counter()
    subprocess.run([COMMAND, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def summary(times: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min_s": min(times), "median_s": statistics.median(times), "max_s": max(times)}


def main() -> None:
    given = Arguments(__doc__).read()
    repeats = 1 if given.dry else RUNS
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environment = {**os.environ, "TUNER_COMPILE_CACHE": str(folder / "compiled")}

        def tune(run: str) -> float:
            options = ["--out", str(folder / run), "--cache", str(folder / f"{run}.json")]
            options += ["--trials", str(dry.TRIALS)] if given.dry else []
            return seconds("tune", "configs/quick.toml", "--backend", "model", *options, environment=environment)

        seconds("--help", environment=environment)  # compiles the bytecode
        found = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "runs": repeats,
            "help": summary([seconds("--help", environment=environment) for _ in range(repeats)]),
            "quick_cold": {"s": tune("cold")},
            "quick_warm": summary([tune(f"warm{i}") for i in range(repeats)]),
        }
    print(found)
    write(given.out / "cli_start.json", found)


if __name__ == "__main__":
    main()
