"""How long the command takes to start, and a small job when everything is in the compile cache.

Prints JSON, seconds of wall time:

    python results/overhead/cli_start.py
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environment = {**os.environ, "TUNER_COMPILE_CACHE": str(folder / "compiled")}

        def tune(run: str) -> float:
            places = ("--out", str(folder / run), "--cache", str(folder / f"{run}.json"))
            return seconds("tune", "configs/quick.toml", "--backend", "model", *places, environment=environment)

        seconds("--help", environment=environment)  # compiles the bytecode
        print(
            json.dumps(
                {
                    "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
                    "runs": RUNS,
                    "help": summary([seconds("--help", environment=environment) for _ in range(RUNS)]),
                    "quick_cold": {"s": tune("cold")},
                    "quick_warm": summary([tune(f"warm{i}") for i in range(RUNS)]),
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
