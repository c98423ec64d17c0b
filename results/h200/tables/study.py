"""Measure every tactic of each shipped space at two sizes and write T4 tables.

    python results/h200/tables/study.py OUT_FOLDER [SECONDS]

A table that exists is kept; after SECONDS no new one is begun.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import as_recorded, machine

SIZES: dict[str, list[dict[str, int]]] = {
    "increment": [{"N": 64 << 20}, {"N": 4 << 20}],
    "softmax": [{"M": 8192, "N": 4096}, {"M": 2048, "N": 16384}],
    "rms_norm": [{"M": 16384, "N": 8192}, {"M": 2048, "N": 4096}],
    "swiglu": [{"N": 64 << 20}, {"N": 4 << 20}],
    "transpose": [{"M": 16384, "N": 8192}, {"M": 2048, "N": 4096}],
    "gemm": [{"M": 4096, "N": 4096, "K": 4096}, {"M": 512, "N": 4096, "K": 4096}],
}


def main() -> None:
    from tuner.backends.select import BackendChoice
    from tuner.store.tables.t4 import document
    from tuner.tuning.config import load_config
    from tuner.tuning.job import Places, Silent, run_job

    out, limit = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for position in range(2):
        for name, sizes in SIZES.items():
            shape = "_".join(f"{d}{n}" for d, n in sizes[position].items())
            path = out / f"{name}_{shape}_T4.json.gz"
            if path.exists() or time.monotonic() - began > limit:
                continue
            config = load_config(as_recorded("configs", f"{name}.toml"))
            problem = config.problems[0].at(sizes[position])
            with tempfile.TemporaryDirectory() as folder:
                places = Places(Path(folder), Path(folder) / "tactics.json")
                job = dataclasses.replace(config, problems=(problem,))
                job = dataclasses.replace(job, search=type(config.search)(trials=problem.space.size))
                started = time.perf_counter()
                result = run_job(job, BackendChoice.of("cuda"), places, Silent())[0]
            seconds = time.perf_counter() - started
            info = {
                "device": result.origin.device,
                "kernel": name,
                "problem": problem.label,
                "seconds": seconds,
                **machine(),
            }
            content = document(((t.tactic, t.outcome) for t in result.trials), info)
            path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
            print(f"{path.name}: {len(result.trials)} tactics in {seconds:.1f} s, failed {result.failures}", flush=True)


if __name__ == "__main__":
    main()
