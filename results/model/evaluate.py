"""Hold the model's predictions against the exhaustive tables measured on one H200.

    python results/model/evaluate.py --out FOLDER [--label after] [--store FOLDER]

Compiles the tactics of each table (a sample of the GEMM's), predicts each, prints how well the model does and keeps it
under the label in evaluation.json, beside what the file has under others. The store keeps what was compiled for another
run.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from statistics import correlation, median
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write
from recorded import TABLES, as_recorded

from tuner.backends.model.predict import predict
from tuner.compile.artifact import Artifact
from tuner.compile.blobs import Store
from tuner.compile.compiler import Compiler
from tuner.gpu.catalog import find_device
from tuner.kernel.problem import Problem
from tuner.outcome import Timing
from tuner.search.tactic import Tactic
from tuner.store.tables.table import read_table
from tuner.tuning.config import load_config

SAMPLE, SEED = 136, 0
"""Tactics of a table, besides the default: compiling all 512 of the GEMM takes long."""
CALIBRATED = {
    "increment": {"N": 64 << 20},
    "softmax": {"M": 8192, "N": 4096},
    "rms_norm": {"M": 16384, "N": 8192},
    "swiglu": {"N": 64 << 20},
    "transpose": {"M": 16384, "N": 8192},
    "gemm": {"M": 4096, "N": 4096, "K": 4096},
}
"""The sizes whose tables the model's constants were chosen with."""
HELD_OUT = {
    "increment": {"N": 4 << 20},
    "softmax": {"M": 2048, "N": 16384},
    "rms_norm": {"M": 2048, "N": 4096},
    "swiglu": {"N": 4 << 20},
    "transpose": {"M": 2048, "N": 4096},
    "gemm": {"M": 512, "N": 4096, "K": 4096},
}
"""The sizes it had not seen."""
DRY = {"held_out": {"increment": HELD_OUT["increment"]}}


def measured_times(name: str, sizes: Mapping[str, int], problem: Problem, most: int) -> dict[Tactic, float]:
    """Microseconds of the default and of at most so many other tactics."""
    shape = "_".join(f"{d}{n}" for d, n in sizes.items())
    outcomes = read_table(TABLES / f"{name}_{shape}_T4.json.gz").outcomes
    times = {Tactic(json.loads(c)): o.time_us for c, o in outcomes.items() if isinstance(o, Timing)}
    default = Tactic(problem.kernel.default)
    others = sorted((t for t in times if t != default), key=lambda t: t.id)
    others = random.Random(SEED).sample(others, min(most, len(others)))
    return {t: times[t] for t in (default, *others)}


def score(measured: Sequence[float], predicted: Sequence[float]) -> dict[str, Any]:
    """How well predictions do; the first pair is the default's.

    Regret is the time of the fastest of the first n tactics in the model's order over the fastest of all, less one.
    """
    best = min(measured)
    picks = [t for _, t in sorted(zip(predicted, measured, strict=True))]
    return {
        "tactics": len(measured),
        "best_us": round(best, 2),
        "spearman": round(correlation(*(list(pd.Series(times).rank()) for times in (measured, predicted))), 3),
        "median_log_error": round(median(abs(log(p / m)) for p, m in zip(predicted, measured, strict=True)), 3),
        "regret_percent": {f"top_{n}": round(100 * (min(picks[:n]) / best - 1), 1) for n in (1, 5, 10)}
        | {"default": round(100 * (measured[0] / best - 1), 1)},
    }


def evaluate(name: str, sizes: Mapping[str, int], compiler: Compiler, most: int) -> dict[str, Any]:
    """Compile, predict and score the default and at most so many other tactics of one table."""
    problem = load_config(as_recorded("configs", f"{name}.toml")).problems[0].at(sizes)
    times = measured_times(name, sizes, problem, most)
    compiled = {t: compiler.submit(problem, t.config) for t in times}
    predicted = []
    for tactic, future in compiled.items():
        artifact = future.result()
        if not isinstance(artifact, Artifact):
            raise SystemExit(f"{problem.label} {tactic}: {artifact.message}")
        predicted.append(predict(find_device("h200"), problem, tactic.config, artifact).time_us)
    return score(list(times.values()), predicted)


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--label", default="after")
    arguments.add_argument("--store", type=Path)
    given = arguments.read()
    label, store = given.label, Store(given.store or Path(tempfile.mkdtemp()))
    compiler = Compiler(find_device("h200").target, store=store, workers=0, timeout_s=120, memory_bytes=4 << 30)
    found: dict[str, dict[str, Any]] = {}
    try:
        for role, tables in (DRY if given.dry else {"calibrated": CALIBRATED, "held_out": HELD_OUT}).items():
            found[role] = {}
            for name, sizes in tables.items():
                row = {"sizes": sizes, **evaluate(name, sizes, compiler, 2 if given.dry else SAMPLE)}
                found[role][name] = row
                print(label, role, name, json.dumps({k: v for k, v in row.items() if k != "sizes"}), flush=True)
    finally:
        compiler.close()
    path = given.out / "evaluation.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write(path, known | {label: found})


if __name__ == "__main__":
    main()
