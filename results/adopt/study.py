"""Adopt real kernels, unedited, and take each all the way: tune, verify, rehearse, export.

    python results/adopt/study.py --checkouts CHECKOUTS --out FOLDER [--only WORD] [--jobs N]

CHECKOUTS holds a folder `owner+name` of each project in `kernels.toml`, at the commit that stands there. Every
function is adopted as `tuner adopt` does it; what that writes is not edited, but for a longer limit of time. Rows with
`declared` have a declaration in `hand` instead. Each outcome is a line of `outcomes.jsonl`. A dry run adopts a function
of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import Arguments  # noqa: E402

STEPS = ("adopt", "tune", "rehearse", "export")
_LIMIT_S = 420
OWN = """
import torch
import triton
import triton.language as tl


@triton.jit
def _double(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


def double(x):
    y = torch.empty_like(x)
    _double[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y
"""


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--checkouts", type=Path, help="folder of the projects")
    parser.add_argument("--only", action="append", default=[], help="only kernels with this in their names")
    parser.add_argument("--jobs", type=int, default=1, help="kernels at a time")
    given = parser.read()
    kernels = tomllib.loads((HERE / "kernels.toml").read_text())["kernel"]
    steps = STEPS
    if given.dry:
        given.checkouts = Path(tempfile.mkdtemp(prefix="checkouts-of-a-dry-run-"))
        (given.checkouts / "nobody+nothing").mkdir()
        (given.checkouts / "nobody+nothing/mine.py").write_text(OWN)
        call = "f(fp32[N=100000])"
        kernels = [{"name": "own", "project": "nobody+nothing", "function": "mine:double", "call": call}]
        steps = STEPS[:1]  # without torch the reference is a line to fill in
    elif given.checkouts is None:
        parser.error("--checkouts FOLDER is missing: where the projects are")
    chosen = [k for k in kernels if not given.only or any(word in k["name"] for word in given.only)]
    with ThreadPoolExecutor(given.jobs) as pool, (given.out / "outcomes.jsonl").open("a") as log:
        for found in pool.map(lambda k: take(k, given.checkouts.resolve(), given.out.resolve(), steps), chosen):
            log.write(json.dumps(found) + "\n")
            log.flush()
            print(f"{found['name']:26} {found['reached']:10} {found['verified']:12} {found['said'][:200]}", flush=True)


def take(kernel: Mapping[str, Any], checkouts: Path, out: Path, steps: Sequence[str]) -> dict[str, Any]:
    """Take one kernel as far as it goes."""
    root = checkouts / kernel["project"] / kernel.get("root", "")
    folder = out / kernel["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": path, "TUNER_CACHE": str(folder / "cache.json"), **kernel.get("env", {})}
    outcome = {
        "name": kernel["name"],
        "project": kernel["project"],
        "function": kernel["function"],
        "by": "hand" if "declared" in kernel else "adopt",
        "reached": "nothing",
    }
    outcome |= {"said": "", "verified": "", "todo": [], "seconds": {}}
    if "declared" in kernel:
        (folder / "adopted.toml").write_text(_config(kernel))
    for step, command in _commands(kernel, root, folder):
        if step not in steps:
            break
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            outcome["said"] = f"{step} took more than {_LIMIT_S} s"
            break
        outcome["seconds"][step] = round(time.perf_counter() - started, 1)
        (folder / f"{step}.log").write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            outcome["said"] = f"{step}: {(done.stderr.strip() or done.stdout.strip() or '?').splitlines()[-1]}"
            break
        if step == "adopt":
            outcome["todo"] = json.loads(done.stdout)["todo"]
            with (folder / "adopted.toml").open("a") as f:  # several at a time on few cores
                f.write(f"\n[compile]\ntimeout_s = {_LIMIT_S}\n")
        if step == "tune":
            outcome["verified"] = _verified(json.loads(done.stdout))
            if outcome["verified"] != "verified":
                outcome["said"] = f"tune: {outcome['verified']}"
                break
        outcome["reached"] = step
    return outcome


def _commands(kernel: Mapping[str, Any], root: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    tuner = [str(Path(sys.executable).with_name("tuner"))]
    function = f"{root}/{kernel['function']}" if ".py:" in kernel["function"] else kernel["function"]
    if "declared" not in kernel:
        options = ["--call", kernel["call"], "--id", f"public::{kernel['name']}", "--out", str(folder / "adopted.py")]
        yield "adopt", [*tuner, "adopt", function, *options, "--json"]
    yield (
        "tune",
        [
            *tuner,
            "tune",
            "adopted.toml",
            "--backend",
            "model",
            "--trials",
            "2",
            "--workers",
            "1",
            "--out",
            "out",
            "--json",
        ],
    )
    yield "rehearse", [*tuner, "rehearse", "adopted.toml", "--tactics", "2", "--workers", "1"]
    yield "export", [*tuner, "export", "adopted.toml", "--format", "bundle", "--out", "bundle"]


def _config(kernel: Mapping[str, Any]) -> str:
    """The config of a kernel that is declared by hand."""
    problem = kernel["problem"]
    pairs = {name: ", ".join(f"{k} = {json.dumps(v)}" for k, v in table.items()) for name, table in problem.items()}
    tables = (f"{name} = {{ {values} }}" for name, values in pairs.items())
    lines = ["version = 1", f'kernel = "{HERE / "hand" / kernel["declared"]}"', 'target = "h200"', "[problem]", *tables]
    return "\n".join([*lines, "[compile]", f"timeout_s = {_LIMIT_S}", ""])


def _verified(document: Mapping[str, Any]) -> str:
    """What the winner is recorded as."""
    return str(document["jobs"][0]["winner"]["verified"])


if __name__ == "__main__":
    main()
