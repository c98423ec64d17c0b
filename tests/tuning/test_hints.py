"""What is said besides when no tactic is valid."""

from __future__ import annotations

import subprocess
import sys

import pytest
from workspace import KERNEL, STORE, Workspace

BY_PLACE = KERNEL.replace("x_ptr", "src").replace("y_ptr", "dst")  # names that tell nothing
ORDER = "in this order: input 'x' to src, an extra integer of the launch to dst, output 'y' to n"
SIZES = "the gate chose these sizes itself, to reach every edge of a tile; the problem has N=4194304 T=fp32: where"
START = "outputs start uninitialised, in TensorRT too"


@pytest.mark.parametrize(
    ("old", "new", "said", "unsaid"),
    [
        (STORE, f"    undefined()\n{STORE}", ["undefined"], ["in this order", SIZES, START]),
        (
            "tl.store(y_ptr + offsets, y,",
            "tl.atomic_add(y_ptr + offsets, y,",
            ["only adds to output 'y'", "outputs start uninitialised"],
            ["in this order", SIZES],
        ),
        (
            "tl.store(y_ptr + offsets, y, mask=mask)",
            "if n < 0:\n        tl.store(y_ptr + offsets, y, mask=mask)",
            [START],
            ["in this order"],
        ),
        (", mask=mask) * factor", ") * factor", ["out of bounds", SIZES], [START]),
    ],
    ids=["no order", "adds", "skips", "no mask"],
)
def test_a_hint(workspace: Workspace, old: str, new: str, said: list[str], unsaid: list[str]) -> None:
    assert old in KERNEL
    workspace.write(KERNEL.replace(old, new), trials=2)
    run = workspace.tune()
    assert (run.code, run.out) == (1, "")
    last = run.err.splitlines()[-1]
    assert all(text in last for text in said), last
    assert not any(text in last for text in unsaid), last


def test_the_order_of_parameters_that_are_told_by_place(workspace: Workspace) -> None:
    assert "src, n, dst," in BY_PLACE
    workspace.write(BY_PLACE.replace("src, n, dst,", "src, dst, n,"), trials=2)
    run = workspace.tune()
    assert (run.code, run.out) == (1, "")
    assert ORDER in run.err.splitlines()[-1]


def test_a_reference_that_fails_at_a_size_of_the_gate(workspace: Workspace) -> None:
    workspace.write(KERNEL.replace("lambda x, factor: x * factor", "lambda x, factor: x.reshape(-1, 128) * factor"))
    run = workspace.tune()
    assert run.code == 2
    assert run.err.splitlines()[-1].endswith(
        "values= or a Constraint such as N % BLOCK == 0 says which, and the gate then takes only such"
    )


def test_a_result_is_shown_in_a_line(workspace: Workspace) -> None:
    (workspace.folder / "script.py").write_text(
        KERNEL + "\nfrom tuner import Problem, tune\n"
        "print(repr(tune(Problem.of(kernel, {'N': 4096}), backend='model', trials=2)))\n"
    )
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=workspace.folder, env=workspace.environment, capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("<Result of test::scale N=4096 T=fp32 on NVIDIA H200 by model: (BLOCK=")
    assert "us (prediction)" in line and line.endswith(" times as fast as the default>")
