"""Tune all shipped configs, then time winner, default and torch's own operators side by side.

python results/h200/tune/study.py --out FOLDER
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
from side_by_side import Operator, Tactic, make, side_by_side, skipped

CONFIGS = ("increment", "softmax", "rms_norm", "swiglu", "transpose", "gemm")


def torch_operators(name: str) -> dict[str, Operator]:
    """What torch offers for the same operator, writing into the given output where it can."""
    import torch
    from torch.nn import functional

    offers: dict[str, dict[str, Operator]] = {
        "increment": {"torch.add": lambda x, y: torch.add(x[0], 1, out=y[0])},
        "softmax": {"torch.softmax": lambda x, y: torch.softmax(x[0], -1, out=y[0])},
        "rms_norm": {"torch.rms_norm": lambda x, y: functional.rms_norm(x[0], (x[0].shape[-1],), x[1], 1e-6)},
        "swiglu": {"torch silu * up": lambda x, y: torch.mul(functional.silu(x[0]), x[1], out=y[0])},
        "transpose": {"torch copy of x.T": lambda x, y: y[0].copy_(x[0].T)},
        "gemm": {"cuBLAS": lambda x, y: torch.matmul(x[0], x[1], out=y[0])},
    }
    return offers[name]


def compare(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Time a job's tactics beside torch and beside a copy that moves as many bytes."""
    from tuner.tuning.config import load_config

    problem = load_config(config(name)).problems[0]
    candidates: dict[str, Operator] = {"winner": Tactic(problem, job["winner"]["config"])}
    if job["default"]["id"] != job["winner"]["id"]:
        candidates["default"] = Tactic(problem, job["default"]["config"])
    if dry.running():
        return skipped(problem)
    import torch

    candidates |= torch_operators(name)
    half = problem.bytes() // 2
    source, target = (torch.empty(half, dtype=torch.uint8, device="cuda") for _ in range(2))
    source.random_()
    if name != "gemm":
        candidates["copy of as many bytes"] = lambda x, y: target.copy_(source)
    samples = side_by_side(candidates, lambda: make(problem))
    return {
        "bytes": problem.bytes(),
        "flops": problem.flops(),
        "median_us": {n: median(s) for n, s in samples.items()},
        "samples_us": {n: [round(x, 4) for x in s] for n, s in samples.items()},
    }


def main() -> None:
    given = Arguments(__doc__).read()
    jobs = []
    for name in CONFIGS[:1] if given.dry else CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            job = tune(config(name), Path(folder))
        if "error" not in job:
            job["side_by_side"] = compare(name, job)
        jobs.append(job)
        shown = job.get("side_by_side", {}).get("median_us", job.get("error"))
        print(f"{name}: {job['seconds']:.1f} s, {job.get('trials')} trials, {shown}", flush=True)
        write(given.out / "data.json", {"machine": machine(), "jobs": jobs})


if __name__ == "__main__":
    main()
