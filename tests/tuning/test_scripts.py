"""`tune` called by plain scripts, without a guard: child processes never run what comes after the kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import write_shims
from workspace import KERNEL, Workspace

from tuner import Tactic

TUNE = """
import sys
from pathlib import Path
from tuner import Problem, tune

Path("runs.txt").open("a").write("run ")
result = tune(Problem.of(kernel, {"N": int(sys.argv[1])}), backend=sys.argv[2], trials=3)
print(result.winner.id, result.origin.kind, len(result.trials), result.failures, result.speedup >= 1)
Path("ends.txt").open("a").write("end ")
"""
GUARDED = """
if __name__ == "__main__":
    from tuner import Problem, tune

    result = tune(Problem.of(kernel, {"N": 4096}), backend="model", trials=3)
    print(result.winner.id, result.origin.kind, len(result.trials), result.failures, result.speedup >= 1)
"""


def run(workspace: Workspace, *arguments: str, script: str = "script.py", **variables: str) -> list[str]:
    """The words that a script in the workspace prints, after the winner's id, which must be in the cache."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=workspace.folder,
        env={**workspace.environment, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    winner, *rest = done.stdout.split()
    (entry,) = json.loads((workspace.folder / "tactics.json").read_text())["entries"]
    assert str(entry["winner"]["id"]) == winner
    return rest


@pytest.mark.parametrize("tune", [TUNE, GUARDED], ids=["without a guard", "with a guard"])
def test_a_script_tunes_the_kernel_it_declares(workspace: Workspace, tune: str) -> None:
    (workspace.folder / "script.py").write_text(KERNEL + tune)
    assert run(workspace, "4096", "model") == ["prediction", "3", "{}", "True"]
    assert (workspace.folder / "results" / "scale" / "trials.csv").exists()


def test_what_follows_in_a_script_that_declares_its_kernel_runs_once(workspace: Workspace) -> None:
    (workspace.folder / "script.py").write_text(KERNEL + TUNE)
    run(workspace, "4096", "model")
    assert (workspace.folder / "ends.txt").read_text() == "end "


LOADED = """
from pathlib import Path
from tuner.kernel.loader import load_kernel

kernel = load_kernel("kernel.py", Path())
"""


@pytest.mark.parametrize("imports", ["from kernel import kernel\n", LOADED], ids=["imported", "loaded"])
def test_a_script_that_imports_its_kernel_is_executed_once(workspace: Workspace, imports: str) -> None:
    (workspace.folder / "script.py").write_text(imports + TUNE)
    assert run(workspace, "4096", "model") == ["prediction", "3", "{}", "True"]
    assert (workspace.folder / "runs.txt").read_text() == "run "
    assert (workspace.folder / "ends.txt").read_text() == "end "


def test_a_script_that_hides_every_exception_stops_where_it_starts_to_tune_all_the_same(workspace: Workspace) -> None:
    hidden = TUNE.replace("result = tune", "try:\n    result = tune").replace(
        "\nprint(", "\nexcept Exception as e:\n    sys.exit(str(e))\nprint("
    )
    (workspace.folder / "script.py").write_text(KERNEL + hidden)
    assert run(workspace, "4096", "model")[0] == "prediction"
    assert (workspace.folder / "ends.txt").read_text() == "end "


def test_files_called_like_pythons_own_modules_are_not_taken_for_them_by_children(workspace: Workspace) -> None:
    """A folder that a script is run in, and the script's own: the parent reads them late, a child never."""
    trap = f"open({str(workspace.folder / 'executed.txt')!r}, 'a').write(__name__ + ' ')\n"
    (workspace.folder / "script.py").write_text(WITHOUT + KERNEL + LATE + TUNE)
    for name in ("random", "signal", "json", "pickle", "multiprocessing", "select", "resource"):
        (workspace.folder / f"{name}.py").write_text(trap)
    assert run(workspace, "4096", "model") == ["prediction", "3", "{}", "True"]
    assert not (workspace.folder / "executed.txt").exists()


WITHOUT = """
import os, sys
folder = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != folder]
"""
LATE = """
import tuner.tuning.job, tuner.backends.model.backend, tuner.gate.verifier, optuna
sys.path.insert(0, folder)
"""


def test_a_script_without_a_guard_measures_in_processes_that_own_the_gpu(workspace: Workspace, tmp_path: Path) -> None:
    script = workspace.folder / "script.py"
    script.write_text(KERNEL + TUNE)
    fast = Tactic({"BLOCK": 256, "num_warps": 4})
    (tmp_path / "scenario.json").write_text(json.dumps({"kernel": str(script), "us": {str(fast.id): 30.0}}))
    shims = {"PYTHONPATH": write_shims(tmp_path / "shims"), "SIMULATED_TENSORRT": str(tmp_path / "scenario.json")}
    assert run(workspace, "65536", "tensorrt", **shims) == ["measurement", "3", "{}", "True"]
    assert (workspace.folder / "ends.txt").read_text() == "end "
