"""Tune all shipped configs, then time winner, default and torch's own operators side by side.

python results/h200/tune/study.py OUT.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, Tactic, machine, side_by_side, tune, write

CONFIGS = ("increment", "softmax", "rms_norm", "swiglu", "transpose", "gemm")
Launch = Callable[[list[Any], list[Any]], object]


def torch_operators(name: str) -> dict[str, Launch]:
    """What torch offers for the same operator, writing into the given output where it can."""
    import torch
    from torch.nn import functional

    offers: dict[str, dict[str, Launch]] = {
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
    import torch

    from tuner.tuning.config import load_config

    problem = load_config(ROOT / "configs" / f"{name}.toml").problems[0]
    kinds = {"fp16": torch.float16, "fp32": torch.float32}

    def make() -> tuple[list[Any], list[Any]]:
        def tensors(group: Any, fill: Any) -> list[Any]:
            return [fill(problem.shape(t), dtype=kinds[problem.dtype(t)], device="cuda") for t in group.values()]

        return tensors(problem.kernel.inputs, torch.randn), tensors(problem.kernel.outputs, torch.empty)

    candidates: dict[str, Launch] = {"winner": Tactic(problem, job["winner"]["config"])}
    if job["default"]["id"] != job["winner"]["id"]:
        candidates["default"] = Tactic(problem, job["default"]["config"])
    candidates |= torch_operators(name)
    half = problem.bytes() // 2
    source, target = (torch.empty(half, dtype=torch.uint8, device="cuda") for _ in range(2))
    source.random_()
    if name != "gemm":
        candidates["copy of as many bytes"] = lambda x, y: target.copy_(source)
    samples = side_by_side(candidates, make)
    return {
        "bytes": problem.bytes(),
        "flops": problem.flops(),
        "median_us": {n: median(s) for n, s in samples.items()},
        "samples_us": {n: [round(x, 4) for x in s] for n, s in samples.items()},
    }


def main() -> None:
    out = Path(sys.argv[1])
    jobs = []
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            job = tune(ROOT / "configs" / f"{name}.toml", Path(folder))
        if "error" not in job:
            job["side_by_side"] = compare(name, job)
        jobs.append(job)
        shown = job.get("side_by_side", {}).get("median_us", job.get("error"))
        print(f"{name}: {job['seconds']:.1f} s, {job.get('trials')} trials, {shown}", flush=True)
        write(out, {"machine": machine(), "jobs": jobs})


if __name__ == "__main__":
    main()
