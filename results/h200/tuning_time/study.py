"""How long tuning takes: triton.autotune, ours over all configurations, ours with a search of 32 trials.

    python results/h200/tuning_time/study.py --out FOLDER

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
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import ROOT, Arguments, config, machine, write
from side_by_side import Tactic, make, side_by_side, skipped

NAMES = ("increment", "softmax", "gemm")
WAYS = ("search", "all", "triton.autotune")
TRIALS = 32
OPTIONS = ("num_warps", "num_stages")


def chosen(name: str) -> Any:
    """The config's problem with its space cut to the configurations that all three ways try."""
    from tuner import Problem
    from tuner.kernel.loader import load_kernel
    from tuner.tuning.config import load_config

    problem = load_config(config(name) if name == "increment" else ROOT / "configs" / f"{name}.toml").problems[0]
    kernel = load_kernel(f"spaces.py:{name}", Path(__file__).parent)
    sizes = {d: r[0].opt for d, r in problem.dims.items()}
    return Problem.of(kernel, sizes, problem.dtypes, problem.attributes)


class AsLaunched:
    """A Triton function without the parameters that only its grid depends on, which autotune would pass on to it."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem
        self.fn = problem.kernel.source  # autotune follows this name to the Python function
        self.arg_names = self.fn.arg_names

    def run(self, *args: Any, grid: None, warmup: bool, **options: Any) -> Any:
        """Launch a configuration on the grid that the kernel declares for it."""
        names = self._problem.kernel.space.names
        launch = self._problem.launch({name: options[name] for name in names})
        own = {k: v for k, v in options.items() if k not in names or k in self.arg_names or k in OPTIONS}
        return self.fn.run(*args, grid=tuple(launch.grid), warmup=warmup, **own)


def triton_config(config: Mapping[str, Any]) -> Any:
    """A configuration as triton.autotune wants it."""
    import triton

    options = {k: v for k, v in config.items() if k in OPTIONS}
    return triton.Config({k: v for k, v in config.items() if k not in OPTIONS}, **options)


def autotune(name: str) -> dict[str, Any]:
    """Let triton.autotune choose, as its users do."""
    import torch
    import triton

    def scratch(size: int, alignment: int, stream: int | None) -> Any:
        return torch.empty(size, dtype=torch.int8, device="cuda")

    triton.set_allocator(scratch)  # for tensor descriptors; the scratch output is only for launches without Triton
    problem = chosen(name)
    kernel = problem.kernel
    configs = [triton_config(c) for c in problem.space]
    tuned = triton.autotune(configs=configs, key=[])(AsLaunched(problem))
    inputs, outputs = make(problem)
    constants = {n: problem.scope()[n] for n in kernel.constant_names if n in problem.scope()}
    tuned.run(*inputs, *problem.launch(kernel.default).args, *outputs, grid=None, warmup=False, **constants)
    found = tuned.best_config.all_kwargs()
    return {"config": {k: found[k] for k in kernel.space.names}, "configurations": len(configs)}


def ours(name: str, trials: int) -> dict[str, Any]:
    """Run our tuner over the same configurations."""
    from tuner import tune

    with tempfile.TemporaryDirectory() as folder:
        places = {"out": Path(folder), "cache": Path(folder) / "tactics.json"}
        result = tune(chosen(name), backend="cuda", trials=trials, **places)
    return {"config": result.winner.config, "configurations": len(result.trials), "failures": result.failures}


def way(name: str, how: str) -> dict[str, Any]:
    """One way in a process of its own, with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TRITON_CACHE_DIR": folder, "TUNER_COMPILE_CACHE": folder}
        one = [sys.executable, __file__, "--one", name, how]
        started = time.perf_counter()
        done = subprocess.run(one, capture_output=True, text=True, env=environment, cwd=ROOT)
        seconds = time.perf_counter() - started
    if done.returncode:
        return {"seconds": seconds, "error": done.stderr.strip().splitlines()[-1:]}
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def compare(name: str, ways: Mapping[str, Any]) -> dict[str, Any]:
    """Time the winners side by side."""
    problem = chosen(name)
    candidates = {how: Tactic(problem, w["config"]) for how, w in ways.items() if "config" in w}
    if dry.running():
        return skipped(problem)
    samples = side_by_side(candidates, lambda: make(problem))
    return {"median_us": {how: median(s) for how, s in samples.items()}, "samples_us": samples}


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        name, how = sys.argv[2:]
        trials = dry.TRIALS if dry.running() else 1000 if how == "all" else TRIALS
        print(json.dumps(autotune(name) if how == "triton.autotune" else ours(name, trials)))
        return
    given = Arguments(__doc__).read()
    rows = []
    for name in NAMES:
        wanted = WAYS if not given.dry else WAYS[:1] if name == "increment" else ()
        ways = {how: way(name, how) for how in wanted}
        row = {"kernel": name, "ways": ways, **compare(name, ways)}
        rows.append(row)
        print(name, {how: round(w["seconds"], 1) for how, w in ways.items()}, row.get("median_us"), flush=True)
        print({how: w.get("error") for how, w in ways.items() if "error" in w}, flush=True)
        write(given.out / "data.json", {"machine": machine(), "trials": TRIALS, "kernels": rows})


if __name__ == "__main__":
    main()
