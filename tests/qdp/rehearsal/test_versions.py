"""The rehearsal says the same on the oldest bindings with plugins compiled ahead of time as on the newest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chained import PEAK, TOTAL, TWO_POINTERS
from filelock import FileLock
from planted import CALL, Edits, plant
from plugin_kernels import EXTENTS, write
from workspace import Run, Workspace

INCREMENT = Path(__file__).parents[3] / "configs" / "increment.toml"
NUMPY = "numpy<2.4"  # older bindings cannot take numbers from a newer one

Installed = Callable[[str], Path]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installs a requirement into a folder of its own, once for all workers; skips where pip cannot."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base

    def install(requirement: str) -> Path:
        folder = shared / requirement.replace("<", "-below-").replace("==", "-")
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
                made = subprocess.run([*pip, "--target", f"{folder}.part", requirement], capture_output=True, text=True)
                if made.returncode:
                    pytest.skip(f"pip cannot install {requirement}: {(made.stderr.splitlines() or [''])[-1]}")
                Path(f"{folder}.part").rename(folder)
        return folder

    return install


@pytest.fixture(params=["tensorrt-cu12-bindings==10.9.0.34", "tensorrt-cu13-bindings==10.15.1.29", "the newest"])
def bindings(request: pytest.FixtureRequest, workspace: Workspace, installed: Installed) -> tuple[Workspace, str]:
    """A workspace whose command finds these bindings first, and their version, "" for those that are installed."""
    if "==" not in request.param:
        return workspace, ""
    path = f"{installed(request.param)}:{installed(NUMPY)}"
    return Workspace(workspace.folder, workspace.compiled, {"PYTHONPATH": path}), request.param.split("==")[1]


def rehearse(bindings: tuple[Workspace, str], edits: Edits = ()) -> Run:
    workspace, version = bindings
    run = workspace.run("rehearse", "--module", str(plant(workspace.folder, edits)), "--call", CALL, "--json")
    assert run.document["tensorrt"].startswith(version)
    return run


def test_a_shipped_job_rehearses_clean(bindings: tuple[Workspace, str]) -> None:
    workspace, version = bindings
    run = workspace.run("rehearse", str(INCREMENT), "--tactics", "2", "--workers", "1", "--json")
    assert run.code == 0, run.out + run.err
    assert run.document["tensorrt"].startswith(version)
    (line,) = run.document["rehearsals"]
    assert len(line["played"]) == 2


EXTENTS_JOB = """
version = 1
kernel = "extents.py"

[problem]
dims = { M = [2, DYNAMIC], N = DYNAMIC, B = DYNAMIC, P = DYNAMIC }
""".replace("DYNAMIC", "{ min = 8, opt = 20, max = 60 }")


def test_computed_extents_rehearse_clean_in_the_second_plugin_of_a_process(bindings: tuple[Workspace, str]) -> None:
    workspace, _ = bindings
    write(workspace.folder, "extents", EXTENTS)
    (workspace.folder / "extents.toml").write_text(EXTENTS_JOB)
    run = workspace.run("rehearse", str(INCREMENT), "extents.toml", "--tactics", "2", "--workers", "1", "--json")
    assert run.code == 0, run.out + run.err
    assert [len(line["played"]) for line in run.document["rehearsals"]] == [2, 2]


@pytest.mark.parametrize(
    ("kernel", "dims", "steps"),
    [
        (PEAK, "M = { min = 1, opt = 8, max = 70 }, N = { min = 1, opt = 500, max = 4000 }", ["parts", "whole"]),
        (TOTAL, "M = { min = 1, opt = 8, max = 70 }, N = 500", ["start_total", "main"]),
    ],
)
def test_an_operator_of_several_launches_rehearses_clean(
    bindings: tuple[Workspace, str], kernel: str, dims: str, steps: list[str]
) -> None:
    workspace, _ = bindings
    workspace.write(kernel=kernel)
    (workspace.folder / "job.toml").write_text(f'version = 1\nkernel = "kernel.py"\n[problem]\ndims = {{ {dims} }}\n')
    run = workspace.run("rehearse", "job.toml", "--tactics", "2", "--workers", "1", "--json")
    assert run.code == 0, run.out + run.err
    (line,) = run.document["rehearsals"]
    assert [step.split("__")[1] for step in line["steps"]] == steps
    assert len(line["played"]) == 2


def test_an_operator_in_place_rehearses_clean(bindings: tuple[Workspace, str]) -> None:
    workspace, _ = bindings
    workspace.write(kernel=TWO_POINTERS)
    run = workspace.run("rehearse", "job.toml", "--tactics", "1", "--workers", "1", "--json")
    assert run.code == 0, run.out + run.err
    (line,) = run.document["rehearsals"]
    assert line["aliases"] == [{"output": "turned", "input": "x", "depends": False}]


def test_a_correct_module_passes(bindings: tuple[Workspace, str]) -> None:
    assert rehearse(bindings).code == 0


MISTAKES = {
    "branch": [("    params = trtp", "    if x.shape_expr[0] < 32:\n        pass\n    params = trtp")],
    "tactic ids": [("[3, 7]", "[3, 7, 3]")],
    "block": [("params.block_x = 256", "params.block_x = 128")],
    "combinations": [("FP32|FP16, FP32|FP16", "FP32")],
    "extra arguments": [("    extra[0] = trtp.SymInt32(n)", "    extra = trtp.SymIntExprs(1)\n    extra[0] = scale")],
}


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_mistake_is_refused_by_the_same_rule(bindings: tuple[Workspace, str], rule: str) -> None:
    run = rehearse(bindings, MISTAKES[rule])
    assert run.code == 1, run.err
    assert {b["rule"] for b in run.document["rehearsals"][0]["broken"]} == {rule}


def test_versions_that_corrupt_attributes_are_refused(workspace: Workspace, installed: Installed) -> None:
    numpy = pytest.importorskip("numpy", minversion="2.4")
    older = {"PYTHONPATH": str(installed("tensorrt-cu13-bindings==10.15.1.29"))}
    run = Workspace(workspace.folder, workspace.compiled, older).run(
        "rehearse", "--module", str(plant(workspace.folder)), "--call", CALL
    )
    assert (run.code, run.out) == (3, "")
    assert run.err == (
        f"error: tensorrt 10.15.1.29 with numpy {numpy.__version__} cannot take the number 'size'; "
        "pip install 'numpy<2.4'\n"
    )
