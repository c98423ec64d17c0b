"""Tune the same operators in every language, then time all winners and defaults side by side.

pip install '.[cuda,frontends]' torch
python results/h200/frontends/study.py OUT.json
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, Tactic, machine, side_by_side, tune, write

OPERATORS = {
    "increment": ("increment", "increment_cuda", "increment_numba", "increment_cute", "increment_ptx"),
    "softmax": ("softmax", "softmax_cuda", "softmax_any"),
    "gemm": ("gemm", "gemm_cute", "matmul_autotuned"),
}
"""Configs of one operator at one problem, the Triton one first."""


def path(config: str) -> Path:
    """The file of a shipped config."""
    return next((ROOT / "configs").rglob(f"{config}.toml"))


def compare(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Time the winner and the default of each job of one operator."""
    import torch

    from tuner.tuning.config import load_config

    kinds = {"fp16": torch.float16, "fp32": torch.float32, "i8": torch.int8}
    problems = {job["config"]: load_config(path(job["config"])).problems[0] for job in jobs}
    first = next(iter(problems.values()))

    def make() -> tuple[list[Any], list[Any]]:
        def tensors(group: Any, fill: Any) -> list[Any]:
            return [fill(first.shape(t), dtype=kinds[first.dtype(t)], device="cuda") for t in group.values()]

        return tensors(first.kernel.inputs, torch.randn), tensors(first.kernel.outputs, torch.empty)

    candidates = {
        f"{job['config']} {which}": Tactic(problems[job["config"]], job[which]["config"])
        for job in jobs
        for which in ("winner", "default")
    }
    samples = side_by_side(candidates, make)
    return {
        "problem": first.label,
        "bytes": first.bytes(),
        "flops": first.flops(),
        "median_us": {n: median(s) for n, s in samples.items()},
        "samples_us": {n: [round(x, 4) for x in s] for n, s in samples.items()},
    }


def main() -> None:
    out = Path(sys.argv[1])
    operators: dict[str, Any] = {}
    for name, configs in OPERATORS.items():
        jobs = []
        for config in configs:
            with tempfile.TemporaryDirectory() as folder:
                jobs.append(tune(path(config), Path(folder)))
            job = jobs[-1]
            print(config, f"{job['seconds']:.1f} s", job.get("error") or job["winner"]["config"], flush=True)
        tuned = [job for job in jobs if "error" not in job]
        operators[name] = {"jobs": jobs, "side_by_side": compare(tuned)}
        print(name, operators[name]["side_by_side"]["median_us"], flush=True)
        write(out, {"machine": machine(), "operators": operators})


if __name__ == "__main__":
    main()
