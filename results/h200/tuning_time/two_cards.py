"""What a second card saves on a job of eight problems.

    python results/h200/tuning_time/two_cards.py --out FOLDER

A gemm at four sizes in two data types, once on one card and once on both, each a process of its own with empty compile
caches. Seconds are those of the whole command.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import ROOT, Arguments, command, machine, write

CONFIG = """version = 1
kernel = "{kernel}"
{problems}
[search]
trials = {trials}
"""
SIZES = (2048, 3072, 4096, 6144)
TRIALS = 48


def job() -> str:
    """The config."""
    if dry.running():
        tables = [f'[[problems]]\ndims = {{ N = {n} }}\ndtypes = {{ T = "fp32" }}\n' for n in (2048, 4096)]
        return CONFIG.format(kernel=ROOT / "kernels" / "increment.py", problems="\n".join(tables), trials=dry.TRIALS)
    tables = [
        f'[[problems]]\ndims = {{ M = {n}, N = {n}, K = {n} }}\ndtypes = {{ T = "{dtype}" }}\n'
        for dtype in ("fp16", "bf16")
        for n in SIZES
    ]
    return CONFIG.format(kernel=ROOT / "kernels" / "gemm.py", problems="\n".join(tables), trials=TRIALS)


def run(devices: str) -> dict[str, Any]:
    """One run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.toml")
        path.write_text(job())
        os.environ |= {"TUNER_COMPILE_CACHE": f"{folder}/compiled", "CUDA_CACHE_PATH": f"{folder}/driver"}
        places = ["--out", f"{folder}/out", "--cache", f"{folder}/tactics.json", "--backend", "cuda", "--json"]
        began = time.perf_counter()
        done = command("tune", str(path), "--devices", devices, *places)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        jobs = json.loads(done.stdout)["jobs"]
    kept = ("problem", "trials", "winner", "default", "stopped")
    return {"devices": devices, "seconds": seconds, "jobs": [{k: j[k] for k in kept} for j in jobs]}


def main() -> None:
    given = Arguments(__doc__).read(dry.Simulated(devices=2))
    runs = [run(devices) for devices in ("0", "0,1")]
    gain = runs[0]["seconds"] / runs[1]["seconds"]
    print({r["devices"]: round(r["seconds"], 2) for r in runs}, f"{gain:.2f} times", flush=True)
    write(given.out / "two_cards.json", {"machine": machine(), "gain": gain, "runs": runs})


if __name__ == "__main__":
    main()
