"""Tune a kernel most of whose tactics are broken: each costs one trial, and the winner stays right.

python results/h200/faults/study.py OUT.json
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import HERE, machine, tune, write


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        job = tune(HERE / "faults" / "faulty.toml", Path(folder))
        with (Path(folder) / "trials.csv").open() as f:
            rows = list(csv.DictReader(f))
    kept = ("FAULT", "BLOCK_SIZE", "status", "time_us", "message")
    trials = [{k: r.get(k, "") for k in kept} for r in rows]
    write(Path(sys.argv[1]), {"machine": machine(), "job": job, "trials": trials})
    for t in trials:
        print(t["FAULT"], t["BLOCK_SIZE"], t["status"], t["time_us"], t["message"].splitlines()[:1])
    print(f"{job['seconds']:.1f} s, winner {job.get('winner')}, {job.get('failures')}, {job.get('error')}")


if __name__ == "__main__":
    main()
