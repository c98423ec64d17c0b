"""Bundles of operators of several launches and in place, in a process with neither this package nor Triton."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from chained import PEAK, TOTAL, TWO_POINTERS
from workspace import Workspace

from tuner import Problem, Range, Tactic
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.outcome import Origin, Timing
from tuner.store.cache import update
from tuner.store.entry import entry_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_bindings") is None, reason="needs the extra [rehearse]"
)

BEST = {"TILE": 256, "parts_num_warps": 1, "whole_BLOCK": 32}
WIDE = {"TILE": 128, "parts_num_warps": 2, "whole_BLOCK": 64}

PLAY = """
import json, runpy, sys
from dataclasses import asdict
sys.path[:0] = sys.argv[3:]
for package in ("tuner", "triton"):
    try:
        __import__(package)
    except ImportError:
        continue
    sys.exit(f"{package} can be imported")
from rehearsal import bindings, builder, network
trt = bindings.load()
module = runpy.run_path(sys.argv[1])
told = []
config = type("Config", (), {"set_preview_feature": lambda self, feature, on: told.append((feature.name, on))})()
module["configure"](config)
answers = {"told": told, "layers": [], "said": ""}
tensors, attributes = json.load(sys.stdin)
played = network.PlayedNetwork()
try:
    made = module[sys.argv[2]](played, *(played.add_input(builder.PlayedTensor(*t)) for t in tensors), **attributes)
    answers["outputs"] = [asdict(t.played) for t in (made if isinstance(made, tuple) else (made,))]
except Exception as e:
    answers["said"] = f"{type(e).__name__}: {e}"
for layer in played.layers:
    answers["layers"].append([layer.plugin, dict(layer.attributes), asdict(layer.rehearsal)])
json.dump(answers, sys.stdout)
"""


def exported(
    workspace: Workspace, kernel: str, known: Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]
) -> Path:
    """A bundle of a kernel, with winners for problems: dims, attributes, configuration."""
    workspace.write(kernel=kernel)
    loaded = load_kernel("kernel.py", workspace.folder)
    text = 'version = 1\nkernel = "kernel.py"\n'
    for dims, attributes, config in known:
        problem = Problem.of(loaded, dims, attributes=attributes)
        winner, default = Tactic(config), loaded.default_tactic
        times = {t: Timing(5.0, "measurement", "median", (5.0,) * 9) for t in (winner, default)}
        entry = entry_of(
            problem,
            kernel_hash(loaded),
            origin=Origin("cuda", "measurement", "NVIDIA H200", (9, 0), {"driver": "580"}),
            confirmed=times,
            winner=winner,
            default=default,
            ties=(),
            trials=2,
        )
        update(workspace.folder / "tactics.json", [entry])
        spelt = ", ".join(f"{d} = {spell(e)}" for d, e in dims.items())
        text += f"[[problems]]\ndims = {{ {spelt} }}\n"
        text += "".join(f"attributes.{n} = {v}\n" for n, v in attributes.items())
    (workspace.folder / "job.toml").write_text(text)
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 0, run.err
    return workspace.folder / "bundle"


def spell(extent: int | Range) -> str:
    return (
        f"{{ min = {extent.min}, opt = {extent.opt}, max = {extent.max} }}"
        if isinstance(extent, Range)
        else str(extent)
    )


def add(bundle: Path, function: str, tensors: Sequence[Sequence[Any]], **attributes: Any) -> dict[str, Any]:
    """What the function of a bundle adds to a played network, in a Python without this package."""
    site = bundle.parent / "site"
    if not site.exists():
        site.mkdir()
        packages = Path(str(importlib.util.find_spec("numpy").origin)).parents[1]  # type: ignore[union-attr]
        for name in ("numpy", "numpy.libs", "tensorrt_bindings"):
            if (packages / name).exists():
                (site / name).symlink_to(packages / name)
        rehearsal = importlib.util.find_spec("tuner.qdp.rehearsal")
        assert rehearsal is not None
        shutil.copytree(Path(str(rehearsal.origin)).parent, site / "rehearsal")
    command = [sys.executable, "-I", "-S", "-c", PLAY, str(bundle / "plugin.py"), function, str(site)]
    run = subprocess.run(
        command, input=json.dumps([tensors, attributes]), capture_output=True, text=True, env=dict(os.environ)
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    for _, _, rehearsal in found["layers"]:
        assert not rehearsal["broken"], rehearsal["broken"]
    return found


def fixed(dtype: str, *shape: int) -> list[Any]:
    return [dtype, shape, shape, shape]


def test_each_layer_is_given_the_winners_parameters(workspace: Workspace) -> None:
    bundle = exported(
        workspace,
        PEAK,
        [
            ({"M": 64, "N": 1000}, {"scale": 1.0}, BEST),
            ({"M": Range(1, 8, 70), "N": Range(16, 500, 4000)}, {"scale": 1.0}, WIDE),
            ({"M": Range(1, 8, 70), "N": 500}, {"scale": 1.0}, BEST),
        ],
    )
    found = add(bundle, "add_peak", [fixed("FLOAT", 64, 1000)])
    (parts, values, first), (whole, _, second) = found["layers"]
    assert (parts, whole) == ("test::peak__parts", "test::peak__whole")
    assert values == {"scale": 1.0, "TILE": 256, "num_warps": 1}
    problem = Problem.of(load_kernel("kernel.py", workspace.folder), {"M": 64, "N": 1000})
    for rehearsal, step in zip((first, second), problem.steps(BEST), strict=True):
        (played,) = rehearsal["played"]
        launch = step.problem.launch(step.config)
        assert played["tactic"] == Tactic(step.config).id
        assert played["launches"]["opt"]["grid"] == list(launch.grid)
        assert played["launches"]["opt"]["extra"] == list(launch.args)
    assert found["outputs"][0]["opt"] == [64] and found["told"] == []
    between = add(bundle, "add_peak", [fixed("FLOAT", 20, 700)], scale=1.0)
    assert [values["TILE"] for _, values, _ in between["layers"]] == [128, 128]

    dynamic = [["FLOAT", [1, 16], [8, 500], [70, 4000]]]
    assert [v["TILE"] for _, v, _ in add(bundle, "add_peak", dynamic)["layers"]] == [128, 128]
    rows = [["FLOAT", [1, 500], [8, 500], [70, 500]]]
    label = "M=1:8:70 N=500 T=fp32"
    ambiguous = add(bundle, "add_peak", rows)
    assert "several problems fit (-1, 500); say which as problem=…: " in ambiguous["said"]
    assert label in ambiguous["said"] and not ambiguous["layers"]
    chosen = add(bundle, "add_peak", rows, problem=label)
    assert [values["TILE"] for _, values, _ in chosen["layers"]] == [256, 256]
    assert chosen["layers"][0][2]["played"][0]["launches"]["max"]["grid"] == [70, 2, 1]

    assert "the network asks for M=64 N=1000 scale=3.0" in add(
        bundle, "add_peak", [fixed("FLOAT", 64, 1000)], scale=3.0
    )["said"].replace(" T=FLOAT", "")
    assert (
        "has no attribute 'scales'; it has scale"
        in add(bundle, "add_peak", [fixed("FLOAT", 64, 1000)], scales=1)["said"]
    )

    run = workspace.run("rehearse", "bundle", "--json")
    assert run.code == 0, run.out + run.err
    lines = run.document["rehearsals"]
    assert len(lines) == 6 and all(line["played"] for line in lines)
    assert {line["what"].rpartition(", layer ")[2] for line in lines} == {"test::peak__parts", "test::peak__whole"}


def test_what_fills_an_output_ships_along(workspace: Workspace) -> None:
    bundle = exported(workspace, TOTAL, [({"M": 16, "N": 600}, {}, {"TILE": 128, "num_warps": 1})])
    found = add(bundle, "add_total", [fixed("HALF", 16, 600)])
    assert "this bundle holds M=16 N=600 T=fp32" in found["said"]
    found = add(bundle, "add_total", [fixed("FLOAT", 16, 600)])
    assert [plugin for plugin, _, _ in found["layers"]] == ["test::total__start_total", "test::total__main"]
    assert [rehearsal["aliases"] for _, _, rehearsal in found["layers"]] == [[], [[0, 1]]]
    assert found["told"] == [["ALIASED_PLUGIN_IO_10_03", True]]
    held = json.loads((bundle / "manifest.json").read_text())
    assert held["chains"]["test::total"]["problems"][0]["config"] == {"TILE": 128, "num_warps": 1}
    assert len(list((bundle / "ptx").iterdir())) == 2


def test_an_operator_in_place_is_served(workspace: Workspace) -> None:
    bundle = exported(workspace, TWO_POINTERS, [({"N": 600}, {}, {"BLOCK": 256})])
    found = add(bundle, "add_turn", [fixed("FLOAT", 600)])
    ((plugin, _, rehearsal),) = found["layers"]
    assert (plugin, rehearsal["aliases"]) == ("test::turn", [[0, 0]])
    assert found["told"] == [["ALIASED_PLUGIN_IO_10_03", True]]
    assert found["outputs"][0]["opt"] == [600]


def test_an_operator_without_a_winner_is_refused_before_anything_is_written(workspace: Workspace) -> None:
    workspace.write(kernel=PEAK)
    (workspace.folder / "job.toml").write_text(
        'version = 1\nkernel = "kernel.py"\n[problem]\ndims = { M = 8, N = 99 }\n'
    )
    run = workspace.run("export", "job.toml", "--format", "bundle", "--out", "bundle")
    assert run.code == 2 and "holds no winner of it" in run.err
    assert not (workspace.folder / "bundle").exists()
