"""Launch what comes out of a bundle, not out of the tuner, and check it.

    python results/h200/bundle/study.py --out FOLDER [--trials 16] [--cache FILE]

Tunes the first problem of every config on the GPU (but not what the cache holds), exports the winners as one
bundle, and imports the bundle's plugin.py in a process that can import neither this package nor Triton.
Its functions add the layers of each operator to a network there, and NVIDIA's Python layer (the bindings wheel) asks
each layer for PTX and launches, as an engine build would. These are then loaded and launched through the driver, layer
after layer on the tensors that the network connects, at full size on random inputs, and compared with the float64
reference. Both the winner and tactic 0 are launched: the default, or the winner again where there are several layers.
What works in place is launched on one piece of memory, as where TensorRT honours the alias, and once more on two where
its code does not depend on that.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from math import prod
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
from rehearsal import bindings, builder, network
version = bindings.load().__version__
module = runpy.run_path(sys.argv[1])
plays = []
for call in json.load(sys.stdin):
    played = network.PlayedNetwork(lambda offered: (0, *offered))
    inputs = [played.add_input(builder.PlayedTensor(**t)) for t in call["tensors"]]
    try:
        made = module["OPERATORS"][call["plugin"]](played, *inputs, **call["attributes"])
    except network.LayerBroken:
        made = ()
    layers = [
        {
            "plugin": layer.plugin,
            "inputs": [t.number for t in layer.tensors],
            "outputs": [t.number for t in layer.outputs],
            "tensors": [asdict(t.played) for t in layer.outputs],
            "aliases": layer.rehearsal.aliases,
            "played": [asdict(p) for p in layer.rehearsal.played],
        }
        for layer in played.layers
    ]
    results = [t.number for t in (made if isinstance(made, tuple) else (made,))]
    plays.append({"broken": [asdict(b) for b in played.broken], "layers": layers, "results": results})
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


def depends(layers: list[dict[str, Any]]) -> bool:
    """Whether what works in place is right only where input and output are the same memory."""
    from tuner.compile import ptx
    from tuner.compile.pointers import pointer_uses

    for layer in layers:
        for output, _ in layer["aliases"]:
            played = layer["played"]
            position = len(layer["inputs"]) + len(played["launches"]["opt"]["extra"]) + output
            use = pointer_uses(ptx.parse(played["code"]))[position]
            if use.may_read or use.may_add or use.hidden:
                return True
    return False


def plan(problem: Any, layers: list[dict[str, Any]], results: list[int]) -> Any:
    """The launches of all layers, on the tensors that the network connects: inputs, outputs, and what is between."""
    from tuner.backends.cuda.bench import LaunchPlan, StepLaunch, Workspace
    from tuner.frontends.dtypes import DTYPES
    from tuner.gate.inputs import poison
    from tuner.gpu.driver import LaunchShape
    from tuner.qdp.dtypes import NAMES, member

    count, kernel = len(problem.kernel.inputs), problem.kernel
    memory = {number: number for number in range(count)}  # what lies in the place of another tensor is that one
    for layer in layers:
        memory |= {number: number for number in layer["outputs"]}
        memory |= {layer["outputs"][o]: memory[layer["inputs"][i]] for o, i in layer["aliases"]}
    place = {i: i for i in range(count)}
    # A layer alone also has scratch memory, which is no result.
    for i, number in enumerate(layers[0]["outputs"] if len(layers) == 1 else results):
        place[number] = place[memory[number]] = count + i
    place |= {i: i for i in range(count)}
    known = {member(name): name for name in NAMES}
    workspace = []
    for layer in layers:
        for number, tensor in zip(layer["outputs"], layer["tensors"], strict=True):
            if memory[number] not in place:
                place[memory[number]] = count + len(kernel.outputs) + len(workspace)
                dtype = known[tensor["dtype"]]
                size = prod(tensor["opt"]) * DTYPES[dtype].itemsize
                workspace.append(Workspace(f"{layer['plugin']} {number}", size, poison(dtype)))
    steps = []
    for layer in layers:
        at = layer["played"]["launches"]["opt"]
        shape = LaunchShape(tuple(at["grid"]), tuple(at["block"]), at["shared_bytes"])
        inputs, outputs = (
            tuple(place.get(number, place[memory[number]]) for number in layer[group])
            for group in ("inputs", "outputs")
        )
        steps.append(StepLaunch(shape, tuple(at["extra"]), inputs, outputs))
    return LaunchPlan(tuple(steps), tuple(workspace))


def launch(problem: Any, layers: list[dict[str, Any]], results: list[int], apart: bool, seed: int) -> dict[str, Any]:
    """Launch the played layers on the GPU; None as the fault when the outputs are right.

    Args:
        problem: what they compute.
        layers: each with one tactic that was played.
        results: the tensors that the network returns.
        apart: whether outputs in the place of inputs get memory of their own, as where the alias is not honoured.
        seed: of the inputs.
    """
    from tuner.backends.cuda.bench import Bench
    from tuner.backends.cuda.cases import judge, make_case

    case = make_case(problem, seed)
    if apart:
        outputs = tuple(replace(output, alias=None) for output in case.workload.outputs)
        case = replace(case, workload=replace(case.workload, outputs=outputs))
    bench = Bench(0)
    bench.place(0, case.workload)
    handles = []
    for layer in layers:
        played = layer["played"]
        shared = played["launches"]["opt"]["shared_bytes"]
        handles.append(bench.load(played["code"].encode(), played["entry"], shared))
    evidence = bench.check(handles, 0, plan(problem, layers, results))
    launches = [layer["played"]["launches"]["opt"] for layer in layers]
    return {"fault": judge(case, evidence), "compared": case.checked, "elements": case.elements, "launches": launches}


def first_problems(folder: Path) -> list[Path]:
    """The shipped configs whose front end is installed here (one, in a dry run), each with its first problem only."""
    from tuner.errors import TunerError
    from tuner.tuning.config import dump_config, load_config

    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for path in [config("increment")] if dry.running() else sorted((ROOT / "configs").rglob("*.toml")):
        try:
            job = load_config(path)
        except TunerError as e:
            print(f"{path.stem}: {e}")
            continue
        copy = folder / f"{path.parent.name}-{path.name}"  # two folders may have files of one name
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
    given = arguments.read()
    out = given.out.resolve()
    tactics = out / "tactics.json"
    if given.cache is not None:
        shutil.copy(given.cache, tactics)
    configs = first_problems(out / "configs")
    failed = tune(configs, tactics, out / "runs", str(dry.TRIALS if given.dry else given.trials))
    tuned = [str(c) for c in configs if c.stem not in failed]
    done = command("export", *tuned, "--format", "bundle", "--out", str(out / "bundle"), "--cache", str(tactics))
    if done.returncode:
        raise RuntimeError(done.stderr)
    answers = play(out / "bundle")
    results = []
    for call, answer in zip(answers["calls"], answers["plays"], strict=True):
        runs = range(min((len(layer["played"]) for layer in answer["layers"]), default=0))
        for layers in ([{**layer, "played": layer["played"][run]} for layer in answer["layers"]] for run in runs):
            in_place = any(layer["aliases"] for layer in layers)
            either = in_place and len(layers) == 1 and not depends(layers)
            for apart in (False, True) if either else (False,):
                named = {
                    "call": call,
                    "tactics": {layer["plugin"]: layer["played"]["tactic"] for layer in layers},
                    **({"in_place": "two pieces of memory" if apart else "one piece of memory"} if in_place else {}),
                }
                results.append({**named, **launch_apart(out, call, layers, answer["results"], apart)})
        results += [
            {"call": call, "tactics": b["tactic"], "fault": f"{b['rule']}: {b['message']}"} for b in answer["broken"]
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


def launch_apart(out: Path, call: str, layers: list[dict[str, Any]], results: list[int], apart: bool) -> dict[str, Any]:
    """Launch in a process of its own, so that a crash is that of these tactics alone."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"call": call, "layers": layers, "results": results, "apart": apart}, file)
        file.flush()
        arguments = [sys.executable, __file__, "--launch", file.name, str(out / "configs")]
        one = subprocess.run(arguments, capture_output=True, text=True)
    text = one.stdout.strip().splitlines()
    return dict(json.loads(text[-1])) if one.returncode == 0 and text else {"fault": one.stderr.strip()}


def launch_one(path: Path, configs: Path) -> None:
    """Launch what was written to a file."""
    from tuner.qdp.bundle.folder import call_of
    from tuner.tuning.config import load_config

    data = json.loads(path.read_text())
    problems = [load_config(path).problems[0] for path in sorted(configs.glob("*.toml"))]
    problem = next(p for p in problems if call_of(p) == data["call"])
    found = launch(problem, data["layers"], data["results"], data["apart"], seed=1)
    print(json.dumps({"problem": str(problem), **found}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--launch"]:
        launch_one(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
