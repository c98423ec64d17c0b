"""How long tuning takes: triton.autotune, ours over all configurations, ours with a search of 32 trials.

    python results/h200/tuning_time/study.py OUT.json

The same configurations for all three, each in a process of its own with empty compile caches. Seconds
are wall-clock, from starting the process to its end, imports included. Then the three winners are timed
side by side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, Tactic, machine, side_by_side, write

NAMES = ("increment", "softmax", "gemm")
TRIALS = 32


def chosen(name: str) -> Any:
    """The config's problem with its space cut to the configurations that all three ways try."""
    from tuner.kernel.loader import load_kernel
    from tuner.kernel.problem import Problem
    from tuner.tuning.config import load_config

    problem = load_config(ROOT / "configs" / f"{name}.toml").problems[0]
    kernel = load_kernel(f"spaces.py:{name}", Path(__file__).parent)
    sizes = {d: r[0].opt for d, r in problem.dims.items()}
    return Problem.of(kernel, sizes, problem.dtypes, problem.attributes)


def make(problem: Any) -> tuple[list[Any], list[Any]]:
    import torch

    kinds = {"fp16": torch.float16, "fp32": torch.float32}
    inputs = [
        torch.randn(problem.shape(t), dtype=kinds[problem.dtype(t)], device="cuda")
        for t in problem.kernel.inputs.values()
    ]
    outputs = [
        torch.empty(problem.shape(t), dtype=kinds[problem.dtype(t)], device="cuda")
        for t in problem.kernel.outputs.values()
    ]
    return inputs, outputs


def autotune(name: str) -> dict[str, Any]:
    """Let triton.autotune choose, as its users do."""
    import triton

    problem = chosen(name)
    kernel = problem.kernel
    options = ("num_warps", "num_stages")
    configs = [
        triton.Config({k: v for k, v in c.items() if k not in options}, **{k: v for k, v in c.items() if k in options})
        for c in problem.space
    ]
    tuned = triton.autotune(configs=configs, key=[])(kernel.source)
    inputs, outputs = make(problem)
    launch = problem.launch(kernel.default)
    constants = {n: problem.scope()[n] for n in kernel.constants if n in problem.scope()}

    def grid(meta: dict[str, Any]) -> tuple[int, ...]:
        return tuple(problem.launch({k: meta[k] for k in kernel.space.names if k in meta}).grid)

    tuned[grid](*inputs, *launch.args, *outputs, **constants)
    best = tuned.best_config
    config = {**best.kwargs, "num_warps": best.num_warps, "num_stages": best.num_stages}
    return {"config": {k: config[k] for k in kernel.space.names}, "configurations": len(configs)}


def ours(name: str, trials: int) -> dict[str, Any]:
    """Run our tuner over the same configurations."""
    from tuner.backends.select import BackendChoice
    from tuner.compile.options import CompileOptions
    from tuner.tuning.config import Job
    from tuner.tuning.job import Places, Silent, run_job
    from tuner.tuning.options import SearchOptions

    problem = chosen(name)
    with tempfile.TemporaryDirectory() as folder:
        config = Job(name, "", "h200", (problem,), SearchOptions(trials=trials), CompileOptions())
        places = Places(Path(folder), Path(folder) / "tactics.json", store=Path(folder) / "compile")
        result = run_job(config, BackendChoice.of("cuda"), places, Silent())[0]
    return {"config": result.winner.config, "configurations": len(result.trials), "failures": result.failures}


def way(name: str, how: str) -> dict[str, Any]:
    """One way in a process of its own, with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TRITON_CACHE_DIR": folder, "TUNER_COMPILE_CACHE": folder}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, how], capture_output=True, text=True, env=environment, cwd=ROOT
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        return {"seconds": seconds, "error": done.stderr.strip().splitlines()[-1:]}
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    if sys.argv[1] == "--one":
        name, how = sys.argv[2:]
        found = autotune(name) if how == "triton.autotune" else ours(name, 1000 if how == "all" else TRIALS)
        print(json.dumps(found))
        return
    out, rows = Path(sys.argv[1]), []
    for name in NAMES:
        ways = {how: way(name, how) for how in ("search", "all", "triton.autotune")}
        problem = chosen(name)
        candidates = {how: Tactic(problem, w["config"]) for how, w in ways.items() if "config" in w}
        samples = side_by_side(candidates, lambda problem=problem: make(problem))
        medians = {how: median(s) for how, s in samples.items()}
        rows.append({"kernel": name, "ways": ways, "median_us": medians, "samples_us": samples})
        print(name, {how: round(w["seconds"], 1) for how, w in ways.items()}, medians, flush=True)
        print({how: w.get("error") for how, w in ways.items() if "error" in w}, flush=True)
        write(out, {"machine": machine(), "trials": TRIALS, "kernels": rows})


if __name__ == "__main__":
    main()
