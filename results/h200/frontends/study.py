"""Tune the same operators in every language, then time all winners and defaults side by side.

pip install '.[cuda,frontends]' torch
python results/h200/frontends/study.py --out FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments, config, machine, tune, write
from side_by_side import Tactic, make, side_by_side, skipped

OPERATORS = {
    "increment": ("increment", "increment_cuda", "increment_numba", "increment_cute", "increment_ptx"),
    "softmax": ("softmax", "softmax_cuda", "softmax_any"),
    "gemm": ("gemm", "gemm_cute", "matmul_autotuned"),
}
"""Configs of one operator at one problem, the Triton one first."""

DRY = {"increment": ("increment", "increment_ptx")}
"""Those that need nothing but Triton."""


def compare(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Time the winner and the default of each job of one operator."""
    from tuner.tuning.config import load_config

    problems = {job["config"]: load_config(config(job["config"])).problems[0] for job in jobs}
    first = next(iter(problems.values()))
    candidates = {
        f"{job['config']} {which}": Tactic(problems[job["config"]], job[which]["config"])
        for job in jobs
        for which in ("winner", "default")
    }
    if dry.running():
        return skipped(first)
    samples = side_by_side(candidates, lambda: make(first))
    return {
        "problem": first.label,
        "bytes": first.bytes(),
        "flops": first.flops(),
        "median_us": {n: median(s) for n, s in samples.items()},
        "samples_us": {n: [round(x, 4) for x in s] for n, s in samples.items()},
    }


def main() -> None:
    given = Arguments(__doc__).read()
    operators: dict[str, Any] = {}
    for name, configs in (DRY if given.dry else OPERATORS).items():
        jobs = []
        for source in configs:
            with tempfile.TemporaryDirectory() as folder:
                jobs.append(tune(config(source), Path(folder)))
            job = jobs[-1]
            print(source, f"{job['seconds']:.1f} s", job.get("error") or job["winner"]["config"], flush=True)
        tuned = [job for job in jobs if "error" not in job]
        operators[name] = {"jobs": jobs, "side_by_side": compare(tuned)}
        print(name, operators[name]["side_by_side"].get("median_us"), flush=True)
        write(given.out / "data.json", {"machine": machine(), "operators": operators})


if __name__ == "__main__":
    main()
