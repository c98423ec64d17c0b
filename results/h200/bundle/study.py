"""Launch what comes out of a bundle, not out of the tuner, and check it.

    python results/h200/bundle/study.py --out FOLDER [--trials 16] [--cache FILE] [--only CONFIG …]

Tunes the first problem of every config on the GPU (but not what the cache holds), exports the winners as one
bundle, and imports the bundle's plugin.py in a process that can import neither this package nor Triton.
NVIDIA's Python layer (the bindings wheel) asks it for PTX and launches there, as an engine build would. These
are then loaded and launched through the driver, at full size on random inputs, and compared with the float64
reference. Both the winner and tactic 0, the default, are launched.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
import dry
from common import ROOT, Arguments, command, config, machine, write

NEEDED = ("numpy", "numpy.libs", "tensorrt_bindings")
"""What the process that imports the bundle finds besides the standard library."""

PLAY = """
import json, runpy, sys
from dataclasses import asdict
sys.path[:0] = sys.argv[2:]
for package in ("tuner", "triton", "torch"):
    try:
        __import__(package)
    except ImportError:
        continue
    sys.exit(f"{package} can be imported here")
from rehearsal import bindings, builder
version = bindings.load().__version__
module = runpy.run_path(sys.argv[1])
plays = []
for call in json.load(sys.stdin):
    tensors = [builder.PlayedTensor(**t) for t in call["tensors"]]
    both = builder.play(call["plugin"], tensors, call["attributes"], lambda offered: (0, *offered))
    plays.append({"broken": [asdict(b) for b in both.broken], "played": [asdict(p) for p in both.played]})
json.dump({"tensorrt": version, "plays": plays}, sys.stdout)
"""


def bare_python(folder: Path) -> tuple[list[str], list[str]]:
    """The arguments of a Python that has neither this package nor Triton, and where the rest is."""
    site = folder / "site"
    site.mkdir()
    for name in NEEDED:
        spec = importlib.util.find_spec(name) if "." not in name else None
        origin = Path(spec.origin).parent if spec and spec.origin else _beside("numpy", name)
        if origin is not None:
            (site / name).symlink_to(origin)
    shutil.copytree(ROOT / "tuner" / "qdp" / "rehearsal", site / "rehearsal")
    return [sys.executable, "-I", "-S", "-c", PLAY], [str(site)]


def _beside(package: str, name: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    path = Path(str(spec.origin)).parents[1] / name if spec else None
    return path if path is not None and path.exists() else None


def play(bundle: Path) -> dict[str, Any]:
    """What the bundle answers to the calls it lists."""
    from tuner.qdp.rehearsal.call import parse

    namespace: dict[str, Any] = {}
    tail = (bundle / "plugin.py").read_text().partition("REHEARSAL = ")[2]
    exec(f"calls = {tail}", namespace)
    calls = [parse(text) for text in namespace["calls"]]
    data = [{"plugin": c.plugin, "tensors": [asdict(t) for t in c.tensors], "attributes": c.attributes} for c in calls]
    with tempfile.TemporaryDirectory() as folder:
        command, site = bare_python(Path(folder))
        done = subprocess.run(
            [*command, str(bundle / "plugin.py"), *site], input=json.dumps(data), capture_output=True, text=True
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {"calls": namespace["calls"], **json.loads(done.stdout)}


def launch(problem: Any, played: dict[str, Any], seed: int) -> dict[str, Any]:
    """Launch a played tactic on the GPU; None as the fault when its outputs are right."""
    from tuner.backends.cuda.bench import Bench, LaunchPlan, StepLaunch
    from tuner.backends.cuda.cases import judge, make_case
    from tuner.gpu.driver import LaunchShape

    case, at = make_case(problem, seed), played["launches"]["opt"]
    bench = Bench(0)
    bench.place(0, case.workload)
    handle = bench.load(played["code"].encode(), played["entry"], at["shared_bytes"])
    shape = LaunchShape(tuple(at["grid"]), tuple(at["block"]), at["shared_bytes"])
    inputs = len(case.workload.inputs)
    outputs = range(inputs, inputs + len(case.workload.outputs))
    plan = LaunchPlan((StepLaunch(shape, tuple(at["extra"]), tuple(range(inputs)), tuple(outputs)),))
    evidence = bench.check([handle], 0, plan)
    return {"fault": judge(case, evidence), "compared": case.checked, "elements": case.elements, "launch": at}


def first_problems(folder: Path, only: list[str]) -> list[Path]:
    """The shipped configs whose front end is installed here (one, in a dry run), each with its first problem only.

    Args:
        folder: where they are written.
        only: their names; empty for all.
    """
    from tuner.errors import TunerError
    from tuner.tuning.config import dump_config, load_config

    folder.mkdir(parents=True, exist_ok=True)
    found = []
    shipped = [path for path in sorted((ROOT / "configs").rglob("*.toml")) if not only or path.stem in only]
    for path in [config("increment")] if dry.running() else shipped:
        try:
            job = load_config(path)
        except TunerError as e:
            print(f"{path.stem}: {e}")
            continue
        copy = folder / path.name
        copy.write_text(dump_config(replace(job, problems=job.problems[:1])))
        found.append(copy)
    return found


def tune(configs: list[Path], cache: Path, out: Path, trials: str) -> dict[str, str]:
    """Find winners that the cache does not hold; returns why some could not be found."""
    from tuner.gpu.present import describe
    from tuner.kernel.identity import kernel_hash
    from tuner.store.cache import Cache
    from tuner.tuning.config import load_config

    device, failed = describe((0,))[0].name, {}
    for path in configs:
        (problem,) = load_config(path).problems
        source = kernel_hash(problem.kernel)
        if Cache.open(cache).lookup(problem, source, backend="cuda", device=device).tier == "exact":
            continue
        options = ["--backend", "cuda", "--trials", trials, "--out", str(out / path.stem), "--cache", str(cache)]
        done = command("tune", str(path), *options)
        if done.returncode:
            failed[path.stem] = done.stderr.strip()
    return failed


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--trials", type=int, default=16, help="for what is not in the cache")
    arguments.add_argument("--cache", type=Path, help="winners that are known")
    arguments.add_argument("--only", nargs="+", default=[], help="names of configs; by default all of them")
    given = arguments.read()
    out = given.out.resolve()
    tactics = out / "tactics.json"
    if given.cache is not None:
        shutil.copy(given.cache, tactics)
    configs = first_problems(out / "configs", given.only)
    failed = tune(configs, tactics, out / "runs", str(dry.TRIALS if given.dry else given.trials))
    tuned = [str(c) for c in configs if c.stem not in failed]
    done = command("export", *tuned, "--format", "bundle", "--out", str(out / "bundle"), "--cache", str(tactics))
    if done.returncode:
        raise RuntimeError(done.stderr)
    answers = play(out / "bundle")
    results = []
    for call, answer in zip(answers["calls"], answers["plays"], strict=True):
        for played in answer["played"]:
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump({"call": call, "played": played}, file)
                file.flush()
                # One process each, so that a crash is this tactic's alone.
                arguments = [sys.executable, __file__, "--launch", file.name, str(out / "configs")]
                one = subprocess.run(arguments, capture_output=True, text=True)
            text = one.stdout.strip().splitlines()
            result = json.loads(text[-1]) if one.returncode == 0 and text else {"fault": one.stderr.strip()}
            results.append({"call": call, "tactic": played["tactic"], "ptx_entry": played["entry"], **result})
        results += [
            {"call": call, "tactic": b["tactic"], "fault": f"{b['rule']}: {b['message']}"} for b in answer["broken"]
        ]
    write(
        out / "data.json",
        {
            "machine": machine(),
            "tensorrt_bindings": answers["tensorrt"],
            "not_tuned": failed,
            "launches": results,
        },
    )
    wrong = [r for r in results if r["fault"]]
    print(f"{len(results)} launches of {len(answers['calls'])} problems, {len(wrong)} wrong", wrong)


def launch_one(path: Path, configs: Path) -> None:
    """Launch one tactic that was written to a file."""
    from tuner.qdp.bundle.folder import call_of
    from tuner.tuning.config import load_config

    data = json.loads(path.read_text())
    problems = [load_config(path).problems[0] for path in sorted(configs.glob("*.toml"))]
    problem = next(p for p in problems if call_of(p) == data["call"])
    print(json.dumps({"problem": str(problem), **launch(problem, data["played"], seed=1)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--launch"]:
        launch_one(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
