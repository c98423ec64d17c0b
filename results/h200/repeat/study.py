"""Does the same tune give the same answer, and does confirming tell apart what differs, and only that?

python results/h200/repeat/study.py --out FOLDER [--seconds S]
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import Arguments, config, machine, open_cuda, tune, write

from tuner import Problem
from tuner.backends.timing.statistics import relation
from tuner.kernel.loader import load_kernel
from tuner.outcome import Timing

HERE = Path(__file__).resolve().parent
PAIRS, SLOWED, MORE = 200, 100, 30
"""Comparisons with a copy, and with copies that have 3 % and 4 % more blocks."""


def pairs(backend: Any, a: dict[str, Any], b: dict[str, Any], count: int, deadline: float) -> list[dict[str, Any]]:
    """Confirm two tactics against each other again and again."""
    rows: list[dict[str, Any]] = []
    while len(rows) < count and time.monotonic() < deadline:
        outcomes = backend.confirm([a, b])
        if all(isinstance(o, Timing) for o in outcomes):
            x, y = (o.samples_us for o in outcomes)
            verdict = relation(x, y)
            rows.append({"a_us": median(x), "b_us": median(y), "rounds": len(x), "verdict": verdict})
        else:
            rows.append({"verdict": "failed", "message": str(outcomes)})
    return rows


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--seconds", type=float, default=300.0, help="spent on comparing two tactics")
    given = arguments.read()
    out = given.out / "data.json"
    data: dict[str, Any] = {"machine": machine(), "tunes": {}}
    for name in ("increment",) if given.dry else ("increment", "softmax", "gemm"):
        runs = []
        for _ in range(1 if given.dry else 5):
            with tempfile.TemporaryDirectory() as folder:
                job = tune(config(name), Path(folder))
            job.pop("finalists", None)
            runs.append(job)
        data["tunes"][name] = runs
        print(name, [(r.get("winner", {}).get("id"), r.get("winner", {}).get("time_us")) for r in runs], flush=True)
        write(out, data)
    kernel = load_kernel("slowdown.py", HERE)
    plain = dict(kernel.default)
    kinds = (("same", PAIRS, 0, 0.6), ("slowed", SLOWED, 30, 0.25), ("more", MORE, 40, 0.15))
    with closing(open_cuda(Problem.of(kernel, {"N": dry.SIZE if given.dry else 64 << 20}))) as backend:
        for key, count, extra, share in kinds:
            deadline = time.monotonic() + share * given.seconds
            rows = pairs(backend, plain, {**plain, "EXTRA": extra}, 2 if given.dry else count, deadline)
            data[key] = rows
            verdicts = [r["verdict"] for r in rows]
            print(key, {v: verdicts.count(v) for v in set(verdicts)}, flush=True)
            write(out, data)


if __name__ == "__main__":
    main()
