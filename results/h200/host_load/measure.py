"""Whether a busy host disturbs the timing: the same tactic with the host idle and with every CPU assembling.

    python results/h200/host_load/measure.py --out FOLDER [--phases 6] [--repeats 10]

Phases alternate between idle and busy. In a busy phase each CPU runs ptxas without end, at the same
priority as everything else, which is worse than a tuning run, where compiling has the lower one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import ROOT, Arguments, open_cuda

from tuner import Problem
from tuner.kernel.loader import load_kernel
from tuner.outcome import Timing

SIZES = {"long": 1 << 26, "short": 1 << 18}
BURN = """\
import subprocess, sys
while True:
    subprocess.run([sys.argv[1], "-arch", sys.argv[3], "-o", "/dev/null", "-"], input=sys.argv[2], text=True)
"""


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--phases", type=int, default=6)
    arguments.add_argument("--repeats", type=int, default=10, help="times that the tactic is screened in a phase")
    given = arguments.read()
    phases, repeats = (2, 1) if given.dry else (given.phases, given.repeats)
    kernel = load_kernel("increment.py", ROOT / "kernels" / "ptx")
    rows: list[dict[str, Any]] = []
    device = ""
    for name, size in {"dry": dry.SIZE}.items() if given.dry else SIZES.items():
        with closing(open_cuda(Problem.of(kernel, {"N": size}))) as backend:
            device = backend.origin.device
            screened(backend, kernel.default)
            for phase in range(phases):
                busy = phase % 2 == 1
                burners = _burn(backend.compiled(kernel.default).steps[0]) if busy else []
                time.sleep(0 if given.dry else 1)
                samples = [screened(backend, kernel.default) for _ in range(repeats)]
                for b in burners:
                    b.kill()
                    b.wait()
                rows.append({"size": name, "n": size, "phase": phase, "busy": busy, "samples_us": samples})
        times = {
            busy: median(x for r in rows if r["size"] == name and r["busy"] is busy for s in r["samples_us"] for x in s)
            for busy in (False, True)
        }
        print(f"{name}: idle {times[False]:.3f} us, busy {times[True]:.3f} us, {times[True] / times[False] - 1:+.3%}")
    document = {"device": device, "cpus": os.cpu_count(), "rows": rows}
    (given.out / "samples.json").write_text(json.dumps(document) + "\n")


def screened(backend: Any, config: Any) -> list[float]:
    """Check a tactic and time it once, as a trial of a tune does; microseconds per launch."""
    ((_, outcome),) = backend.evaluate([config])
    if not isinstance(outcome, Timing):
        raise SystemExit(f"error: {outcome.message}")
    return list(outcome.samples_us)


def _burn(code: Any) -> list[subprocess.Popen[bytes]]:
    """Keep every CPU assembling a tactic's PTX."""
    import triton

    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    program = [sys.executable, "-c", BURN, str(ptxas), code.ptx, code.target]
    return [subprocess.Popen(program) for _ in range(os.cpu_count() or 1)]


if __name__ == "__main__":
    main()
