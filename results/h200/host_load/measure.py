"""Whether a busy host disturbs the timing: the same tactic with the host idle and with every CPU assembling.

    python results/h200/host_load/measure.py [--device 0] [--phases 6] [--out samples.json]

Phases alternate between idle and busy. In a busy phase each CPU runs ptxas without end, at the same
priority as everything else, which is worse than a tuning run, where compiling has the lower one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import triton

from tuner import Problem
from tuner.backends.cuda.bench import Bench
from tuner.backends.cuda.cases import make_case
from tuner.backends.cuda.station import LoadedCode, Runner, Station, as_declared, longest_launch_s
from tuner.backends.timing.sampling import screen
from tuner.compile.artifact import Loadable
from tuner.gpu.present import describe
from tuner.kernel.loader import load_kernel

ROOT = Path(__file__).parents[3]
SIZES = {"long": 1 << 26, "short": 1 << 18}
PTX = """\
.version 7.0
.target sm_75
.address_size 64
.visible .entry increment(.param .u64 px, .param .u32 pn, .param .u64 py)
{
  .reg .pred %p; .reg .b32 %r<6>; .reg .f32 %f; .reg .b64 %x, %y, %o;
  ld.param.u64 %x, [px]; ld.param.u32 %r1, [pn]; ld.param.u64 %y, [py];
  cvta.to.global.u64 %x, %x; cvta.to.global.u64 %y, %y;
  mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
  mad.lo.u32 %r5, %r2, %r3, %r4;
  setp.ge.u32 %p, %r5, %r1;
  @%p bra done;
  mul.wide.u32 %o, %r5, 4;
  add.u64 %x, %x, %o; add.u64 %y, %y, %o;
  ld.global.f32 %f, [%x]; add.f32 %f, %f, 0f3F800000; st.global.f32 [%y], %f;
done:
  ret;
}
"""
BURN = """\
import subprocess, sys
while True:
    subprocess.run([sys.argv[1], "-arch", "sm_90", "-o", "/dev/null", "-"], input=sys.argv[2], text=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--phases", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("samples.json"))
    args = parser.parse_args()
    info = describe([args.device])[0]
    kernel = load_kernel("increment.py", ROOT / "kernels")
    config = {"BLOCK_SIZE": 256, "num_warps": 8}
    code = Loadable(PTX, "increment", (256, 1, 1), 0)
    how = as_declared(code, config)
    rows = []
    with closing(Station(partial(Bench, info.ordinal), threading.Lock())) as station:
        for name, size in SIZES.items():
            case = make_case(Problem.of(kernel, {"N": size}), 0, 2 * info.l2_bytes)
            load, limit_s = partial(LoadedCode, station, code, how), longest_launch_s(case.problem, None)
            with closing(Runner(station, load, case, limit_s)) as runner:
                assert runner.check(case) is None
                screen(runner)
                for phase in range(args.phases):
                    busy = phase % 2 == 1
                    burners = _burn() if busy else []
                    time.sleep(1)
                    series = [screen(runner) for _ in range(args.repeats)]
                    for b in burners:
                        b.kill()
                        b.wait()
                    samples = [s.samples_us for s in series]
                    rows.append({"size": name, "n": size, "phase": phase, "busy": busy, "samples_us": samples})
    for name in SIZES:
        times = {
            busy: median(x for r in rows if r["size"] == name and r["busy"] is busy for s in r["samples_us"] for x in s)
            for busy in (False, True)
        }
        print(f"{name}: idle {times[False]:.3f} us, busy {times[True]:.3f} us, {times[True] / times[False] - 1:+.3%}")
    args.out.write_text(json.dumps({"device": info.name, "cpus": os.cpu_count(), "rows": rows}) + "\n")


def _burn() -> list[subprocess.Popen[bytes]]:
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    return [subprocess.Popen([sys.executable, "-c", BURN, str(ptxas), PTX]) for _ in range(os.cpu_count() or 1)]


if __name__ == "__main__":
    main()
