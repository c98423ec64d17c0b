"""Where a cold start goes, phase by phase, and how long whole processes take with an empty compile cache.

    python results/overhead/cold_start.py --out FOLDER

Needs a GPU. For each kernel: one tune in a fresh process that notes when it has imported, has the driver, has launched
its processes, has a context and its spare, has the first PTX, has inputs and reference, has searched, confirmed, and
ended all processes; and the command itself, twice, each time with an empty compile cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import dry
from common import Arguments, command, config, machine, write

KERNELS = {"increment": 44, "softmax": 64, "gemm": 96}
JOBS = ("quantize_fp8",)
"""Of several problems, tuned as the config says."""


def phases(name: str, trials: int, store: Path) -> dict[str, float]:
    """Seconds from the start of this process, as it comes by."""
    began = time.clock_gettime(time.CLOCK_MONOTONIC) - _age()
    found: dict[str, float] = {}

    def mark(phase: str) -> None:
        found[phase] = time.clock_gettime(time.CLOCK_MONOTONIC) - began

    from tuner.backends.cuda.backend import CudaBackend, open_backend
    from tuner.backends.cuda.bench import Bench
    from tuner.backends.setting import Opening
    from tuner.compile.blobs import Store
    from tuner.tuning.config import load_config, with_overrides
    from tuner.tuning.job import Places, Silent, run_job

    job = with_overrides(load_config(config(name)), trials=trials)
    mark("imported, config read")
    from tuner.gpu.present import describe

    describe([0])
    mark("driver started")

    class Marked(CudaBackend):
        def confirm(self, configs: Any) -> Any:
            mark("searched")
            outcomes = super().confirm(configs)
            mark("confirmed")
            return outcomes

        def close(self) -> None:
            super().close()
            mark("closed")

    def opened(problem: Any) -> Any:
        backend = open_backend(Opening(problem, job.setting, Store(store)))
        mark("processes launched")
        backend.__class__ = Marked
        default = problem.kernel.default
        backend.prepare([default])
        equipment = backend._equipment
        equipment.compiler.submit(problem, default).result()
        mark("first PTX")
        equipment.stations[0].call(60.0, Bench.empty_us)
        mark("context ready")
        backend._cases.timed()
        mark("inputs and reference")
        next(iter(backend.evaluate([default])))
        mark("first trial")
        return backend

    with tempfile.TemporaryDirectory() as folder:
        run_job(job, opened, Places(Path(folder), Path(folder) / "tactics.json"), Silent())
    return found


def _age() -> float:
    """Seconds since this process began, by the kernel's own clock."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def in_a_process(name: str, trials: int) -> dict[str, float]:
    """The phases of a tune in a process of its own, with empty caches."""
    with tempfile.TemporaryDirectory() as store:
        environment = {**os.environ, "TUNER_COMPILE_CACHE": store, "CUDA_CACHE_PATH": f"{store}/driver"}
        arguments = [sys.executable, __file__, "--out", store, "--one", name, "--trials", str(trials)]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        if done.returncode:
            return {"failed": 1.0}
        return dict(json.loads(done.stdout.splitlines()[-1]))


def whole(name: str, *options: str) -> dict[str, Any]:
    """Seconds of the command as a whole process, with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TUNER_COMPILE_CACHE": f"{folder}/compiled", "CUDA_CACHE_PATH": f"{folder}/driver"}
        places = ["--out", f"{folder}/out", "--cache", f"{folder}/tactics.json", "--backend", "cuda", "--json"]
        started = time.perf_counter()
        done = command("tune", str(config(name)), *places, *options)
        seconds = time.perf_counter() - started
        if done.returncode:
            return {"seconds": seconds, "error": done.stderr.strip().splitlines()[-1]}
        jobs = json.loads(done.stdout)["jobs"]
        return {"seconds": seconds, "trials": [job["trials"] for job in jobs], "winners": [j["winner"] for j in jobs]}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--one", help="note the phases of one tune, in this process")
    arguments.add_argument("--trials", type=int, default=dry.TRIALS)
    given = arguments.read()
    if given.one:
        print(json.dumps(phases(given.one, given.trials, given.out)))
        return
    kernels = {"increment": dry.TRIALS} if given.dry else KERNELS
    data: dict[str, Any] = {"machine": machine(), "phases": {}, "whole": {}}
    for name, trials in kernels.items():
        data["phases"][name] = in_a_process(name, trials)
        print(name, {k: round(v, 2) for k, v in data["phases"][name].items()}, flush=True)
        runs = [whole(name, "--trials", str(trials)) for _ in range(1 if given.dry else 2)]
        data["whole"][f"{name}, {trials} trials"] = runs
        data["whole"][f"{name}, as many as pay"] = [whole(name)]
        print(name, [round(run["seconds"], 2) for run in runs], flush=True)
        write(given.out / "cold_start.json", data)
    for name in () if given.dry else JOBS:
        data["whole"][name] = [whole(name)]
        print(name, data["whole"][name], flush=True)
        write(given.out / "cold_start.json", data)


if __name__ == "__main__":
    main()
