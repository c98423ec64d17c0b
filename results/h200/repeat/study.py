"""Does the same tune give the same answer, and does confirming tell apart what differs, and only that?

python results/h200/repeat/study.py OUT.json [SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import HERE, ROOT, machine, tune, write

from tuner.backends.select import BackendChoice, BackendSetting, open_backend
from tuner.backends.timing.statistics import relation
from tuner.compile.blobs import Store, default_folder
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem
from tuner.outcome import Timing

PAIRS = 200
SLOWED = 100


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
    out, limit = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 300.0
    data: dict[str, Any] = {"machine": machine(), "tunes": {}}
    for name in ("increment", "softmax", "gemm"):
        runs = []
        for _ in range(5):
            with tempfile.TemporaryDirectory() as folder:
                job = tune(ROOT / "configs" / f"{name}.toml", Path(folder))
            job.pop("finalists", None)
            runs.append(job)
        data["tunes"][name] = runs
        print(name, [(r.get("winner", {}).get("id"), r.get("winner", {}).get("time_us")) for r in runs], flush=True)
        write(out, data)
    kernel = load_kernel("slowdown.py", HERE / "repeat")
    problem = Problem.of(kernel, {"N": 64 << 20})
    backend = open_backend(BackendChoice.of("cuda"), problem, BackendSetting(), Store(default_folder()))
    plain = dict(kernel.default)
    try:
        for key, count, extra, share in (("same", PAIRS, 0, 0.6), ("slowed", SLOWED, 30, 0.25), ("more", 30, 40, 0.15)):
            deadline = time.monotonic() + share * limit
            rows = pairs(backend, plain, {**plain, "EXTRA": extra}, count, deadline)
            data[key] = rows
            verdicts = [r["verdict"] for r in rows]
            print(key, {v: verdicts.count(v) for v in set(verdicts)}, flush=True)
            write(out, data)
    finally:
        backend.close()


if __name__ == "__main__":
    main()
