"""Time every problem of the shipped Triton kernels: winner, default, torch, and what bounds them.

    python results/h200/suite/study.py --out FOLDER [--seconds S] [--cache FILE]

Winners that the cache file holds for exactly these kernels, problems and this GPU are taken from it; other
problems are tuned with few trials first. When the seconds are over nothing new begins, and what is missing is
listed. `data.json` is written after every problem, `tactics.json` after every tune.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments, config, machine, tune, write
from compare import compare, start

CONFIGS = (
    "attention",
    "gemm",
    "batched_gemm",
    "quantized_gemm",
    "layer_norm",
    "add_rms_norm",
    "rms_norm",
    "rope",
    "quantize_fp8",
    "argmax",
    "softmax",
    "gelu",
    "swiglu",
    "embedding",
    "depthwise_conv",
    "transpose",
    "increment",
)
"""The Triton kernels, those that matter most first."""

TRIALS = 40
TIMEOUT_S = 60.0
"""Longest time that one comparison may take."""

MEMORY_BYTES = 1 << 40
"""Private memory that the comparing process may take: CUDA reserves much more than it uses."""


@dataclass(frozen=True)
class Task:
    """One problem of a config; `number` is its place there."""

    config: str
    number: int
    problem: Any
    source: str


def tasks() -> Iterator[Task]:
    """All problems, the first of every config before the second of any."""
    from tuner.kernel.identity import kernel_hash
    from tuner.tuning.config import load_config

    names = CONFIGS[-1:] if dry.running() else CONFIGS
    problems = {name: load_config(config(name)).problems for name in names}
    for number in range(max(map(len, problems.values()))):
        for name, mine in problems.items():
            if number < len(mine):
                yield Task(name, number, mine[number], kernel_hash(mine[number].kernel))


class Study:
    """What all comparisons share: the winners known so far, a compiler and a process that compares."""

    def __init__(self, cache: Path) -> None:
        from tuner.compile.blobs import Store, default_folder
        from tuner.compile.compiler import Compiler
        from tuner.gpu.present import describe

        device = describe((0,))[0]
        self.cache = cache
        self.device = device.name
        target = replace(device.target, disassemble=False)  # as for tuning, so that its code is found in the store
        store = Store(default_folder())
        self.compiler = Compiler(target, store=store, workers=0, timeout_s=60, memory_bytes=8 << 30)
        self.pool = _pool()

    def close(self) -> None:
        self.compiler.close()
        self.pool.close()

    def entry(self, task: Task) -> Any:
        """What is recorded for exactly this problem, or None."""
        from tuner.store.cache import Cache

        hit = Cache.open(self.cache).lookup(task.problem, task.source, backend="cuda", device=self.device)
        return hit.entry if hit.tier == "exact" else None

    def compile(self, task: Task, entry: Any) -> dict[str, tuple[dict[str, Any], Any]]:
        """Winner and default with the futures of their code; the winner alone when they are the same."""
        configs = {"winner": dict(entry.winner.config), "default": dict(task.problem.kernel.default)}
        if configs["winner"] == configs["default"]:
            del configs["default"]
        return {name: (config, self.compiler.submit(task.problem, config)) for name, config in configs.items()}

    def tune(self, task: Task) -> None:
        """Find a winner and record it; RuntimeError when there is none."""
        from tuner.tuning.config import dump_config, load_config

        job, trials = load_config(config(task.config)), dry.TRIALS if dry.running() else TRIALS
        with tempfile.TemporaryDirectory() as folder:
            one = Path(folder) / f"{task.config}.toml"
            one.write_text(dump_config(replace(job, problems=(task.problem,))))
            done = tune(one, Path(folder) / "out", "--trials", str(trials), "--cache", str(self.cache))
        if "error" in done:
            raise RuntimeError(done["error"].splitlines()[-1].removeprefix("error: "))

    def run(self, task: Task) -> dict[str, Any]:
        """One row: what won, and everything timed side by side."""
        from tuner.kernel.references import ProblemSpec
        from tuner.outcome import Failure

        tuned = self.entry(task) is None
        if tuned:
            self.tune(task)
        entry = self.entry(task)
        tactics = {name: (config, code.result()) for name, (config, code) in self.compile(task, entry).items()}
        for name, (_, code) in tactics.items():
            if isinstance(code, Failure):
                raise RuntimeError(f"{name}: {code.message}")
        try:
            answer = self.pool.submit(compare, ProblemSpec.of(task.problem), tactics, timeout_s=TIMEOUT_S).result()
            if isinstance(answer, Failure):
                raise RuntimeError(answer.message)
        except Exception:
            self.pool.close()  # what failed may have left a broken context
            self.pool = _pool()
            raise
        return {
            "dtypes": dict(task.problem.dtypes),
            "bytes": task.problem.bytes(),
            "flops": task.problem.flops(),
            "tactics": {name: config for name, (config, _) in tactics.items()},
            "trials": entry.trials,
            "tuned_here": tuned,
            **answer,
        }


def _pool() -> Any:
    from tuner.outcome import FailureClass
    from tuner.workers.pool import WorkerPool

    pool = WorkerPool(1, memory_bytes=MEMORY_BYTES, died=FailureClass.RUNTIME)
    pool.submit(start, timeout_s=TIMEOUT_S)
    return pool


def main() -> None:
    began = time.monotonic()
    arguments = Arguments(__doc__)
    arguments.add_argument("--seconds", type=float, default=540.0)
    arguments.add_argument("--cache", type=Path, help="winners that are known")
    given = arguments.read()
    out, seconds = given.out, given.seconds
    if given.cache is not None:
        shutil.copyfile(given.cache, out / "tactics.json")
    study = Study(out / "tactics.json")
    known: list[Task] = []
    unknown: list[Task] = []
    for task in tasks():
        (known if study.entry(task) else unknown).append(task)
    ahead = [code for task in known for _, code in study.compile(task, study.entry(task)).values()]
    wait(ahead)  # nothing is measured while others compile
    print(f"{len(known)} winners known, {len(unknown)} to find; {time.monotonic() - began:.0f} s", flush=True)
    at_start = machine()
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for task in known + unknown:
        row: dict[str, Any] = {"config": task.config, "problem": task.problem.label}
        if time.monotonic() - began > seconds:
            missing.append(str(task.problem))
            continue
        started = time.monotonic()
        try:
            row |= study.run(task)
        except Exception as e:
            row["error"] = f"{type(e).__name__}: {e}".splitlines()[0]
        row["seconds"] = round(time.monotonic() - started, 1)
        rows.append(row)
        print(task.problem, row.get("error", ""), f"{row['seconds']} s of {time.monotonic() - began:.0f}", flush=True)
        write(out / "data.json", {"machine": at_start, "rows": rows, "missing": missing})
    study.close()
    write(out / "data.json", {"machine": machine(), "rows": rows, "missing": missing})
    print(f"{len(rows)} rows, {sum('error' in r for r in rows)} failed, {len(missing)} missing: {missing}")


if __name__ == "__main__":
    main()
