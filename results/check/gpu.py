"""How much the planted regressions really cost on a GPU, and whether `tuner check` finds them there.

    python results/check/gpu.py --out FOLDER [--seconds 540]

Writes `gpu_run.json` (the machine), `slowdowns.jsonl` (shipped and edited code in turns, raw samples) and
`verdicts.jsonl` (what the check says with the GPU). Some harmless edits and the unedited kernels run as controls.
Whatever fails is a row with an error. When the seconds are over nothing new is begun; rows that are in the folder are
kept and not measured again, so that a second run goes on where the first ended.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from corpus import DEVICE, HERE, check, record, sources, winners, write_job
from harmless import Edit, make_edits
from planted import PLANTED

sys.path.insert(0, str(Path(__file__).parents[1]))
import dry
from common import Arguments, machine, write

from tuner.backends.cuda.backend import rotated_bytes
from tuner.backends.cuda.cases import make_case
from tuner.backends.cuda.station import LoadedCode, Runner, Station, as_declared, longest_launch_s
from tuner.backends.timing.plan import Confirmation
from tuner.backends.timing.sampling import confirm
from tuner.backends.timing.statistics import log_ratio_interval
from tuner.check.measure import Gpu
from tuner.check.recompile import Recompiled, compile_today
from tuner.check.setting import Setting
from tuner.compile.artifact import Loadable
from tuner.kernel.problem import Problem
from tuner.search.tactic import Tactic
from tuner.tuning.config import load_config

ROUNDS = Confirmation(first_look=48, max_rounds=48)
"""Every pair is timed for as long, so that each slowdown is estimated as well."""

ALPHA = 0.01
"""Of the interval of a slowdown."""

CONTROLS = 8
"""At most so many harmless edits. Those that `study.py` found to change the machine code, false alarms first."""


@dataclass(frozen=True)
class Job:
    """An edited kernel: what kind of edit ("planted", "harmless", "unedited"), its name, and its config."""

    kernel: str
    kind: str
    name: str
    config: Path

    @property
    def about(self) -> dict[str, str]:
        return {"kernel": self.kernel, "kind": self.kind, "name": self.name}


def write_jobs(folder: Path, device: str) -> list[Job]:
    """Every planted regression, the unedited kernels, and harmless edits as controls; in a dry run one of each."""
    files, most = sources(), 1 if dry.running() else None
    planted = [p for p in PLANTED if p.kernel in files][:most]
    texts = [(p.kernel, "planted", p.name, p.apply(files[p.kernel])) for p in planted]
    texts += [(name, "unedited", "", text) for name, text in files.items()]
    texts += [(e.kernel, "harmless", f"{i} {'+'.join(e.steps)}", e.text) for i, e in controls(files)[:most]]
    return [
        Job(kernel, kind, name, write_job(folder / str(i), kernel, text, device))
        for i, (kernel, kind, name, text) in enumerate(texts)
    ]


def controls(files: dict[str, str]) -> list[tuple[int, Edit]]:
    """Harmless edits that change the machine code, by their number; the false alarms of the first margins first."""
    run = json.loads((HERE / "first" / "run.json").read_text())
    edits = make_edits(files, run["edits"], run["seed"])
    found = enumerate(rows(HERE / "first" / "harmless.jsonl"))
    changed = [(i, row["verdict"]) for i, row in found if any("code changed" in c["message"] for c in row["checks"])]
    return [(i, edits[i]) for i, _ in sorted(changed, key=lambda c: (c[1] == "pass", c[0]))[:CONTROLS]]


def slowdowns(jobs: list[Job], role: str, setting: Setting, gpu: Gpu, out: Path, deadline: float) -> None:
    """Time the shipped and the edited code of a tactic in turns, kernel by kernel."""
    kept = [{k: row[k] for k in ("kernel", "kind", "name", "role")} for row in rows(out)]
    jobs = [j for j in jobs if {**j.about, "role": role} not in kept]
    for kernel in sources():
        shipped = _problem(setting.path.parent / "shipped" / f"{kernel}.toml")
        tactic = winners()[kernel][0] if role == "winner" else shipped.kernel.default_tactic
        old = _code(setting.path.parent / "shipped" / f"{kernel}.toml", tactic, setting, gpu)
        case = make_case(shipped, 0, rotated_bytes(gpu.info, warm=False))
        with closing(Station(gpu.factory, threading.Lock())) as station:
            for job in (j for j in jobs if j.kernel == kernel):
                if time.monotonic() > deadline:
                    return
                row: dict[str, Any] = {**job.about, "role": role, "tactic": str(tactic)}
                try:
                    new = _code(job.config, tactic, setting, gpu)
                    limit_s = longest_launch_s(case.problem, None)
                    loads = [partial(LoadedCode, station, c, as_declared(c, tactic.config)) for c in (old, new)]
                    runners = [Runner(station, load, case, limit_s) for load in loads]
                    faults = [runner.check(case) for runner in runners]
                    before, now = confirm(runners, ROUNDS, gpu.probe)
                    low, high = log_ratio_interval(now.samples_us, before.samples_us, ALPHA)
                    row |= {
                        "faults": [f for f in faults if f],
                        "before_us": before.median_us,
                        "now_us": now.median_us,
                        "ratio": [math.exp(low), math.exp(high)],
                        "sm_mhz": median([c.sm_mhz for c in now.conditions] or [math.nan]),
                        "throttled": before.throttled,
                        "samples_us": [[round(s, 4) for s in series.samples_us] for series in (before, now)],
                    }
                    for runner in runners:
                        runner.close()
                except Exception as e:
                    row["error"] = f"{type(e).__name__}: {e}"
                _append(out, row)
                print(role, *job.about.values(), row.get("ratio", row.get("error")), flush=True)


def verdicts(jobs: list[Job], setting: Setting, out: Path, deadline: float) -> None:
    """What the check says of each edit with the GPU."""
    kept = [{k: row[k] for k in ("kernel", "kind", "name")} for row in rows(out)]
    for job in (j for j in jobs if j.about not in kept):
        if time.monotonic() > deadline:
            return
        row = {**job.about, **check(job.config, setting)}
        _append(out, row)
        print("check", *job.about.values(), row["verdict"], [c["rule"] for c in row.get("checks", [])], flush=True)


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--seconds", type=float, default=540.0)
    given = arguments.read(dry.Simulated(device=DEVICE))
    out, limit = given.out, given.seconds
    began = time.monotonic()
    write(out / "gpu_run.json", machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpu = Gpu.here(0)
        device = gpu.info.name
        setting = record(folder, device, "cuda")
        jobs = write_jobs(folder, device)
        # Compile and check on the CPU, several at a time; what is measured then comes from the store.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(check, setting=replace(setting, gpu=None)), [j.config for j in jobs]))
        print(f"compiled after {time.monotonic() - began:.0f} s", flush=True)
        slowdowns(jobs, "winner", setting, gpu, out / "slowdowns.jsonl", began + limit)
        print(f"winners timed after {time.monotonic() - began:.0f} s", flush=True)
        verdicts(jobs, setting, out / "verdicts.jsonl", began + limit)
        print(f"checked after {time.monotonic() - began:.0f} s", flush=True)
        slowdowns(jobs, "default", setting, gpu, out / "slowdowns.jsonl", began + limit)
    print(f"done after {time.monotonic() - began:.0f} s", flush=True)


def _problem(config: Path) -> Problem:
    return load_config(config).problems[0]


def _code(config: Path, tactic: Tactic, setting: Setting, gpu: Gpu) -> list[Loadable]:
    job = load_config(config)
    found = compile_today(job.problems[0], [tactic], gpu.info.name, job, setting.store, {})[tactic]
    if not isinstance(found, Recompiled):
        raise RuntimeError(found.message)
    return [artifact.loadable for artifact in found.code.steps]


def rows(path: Path) -> list[dict[str, Any]]:
    """What an earlier run left."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
