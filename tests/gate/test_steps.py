"""Verdicts on operators of several launches, outputs in place and outputs that start with a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from chained import ONE_POINTER, PEAK, TOTAL, TWO_POINTERS

from tuner import Problem
from tuner.gate.verifier import Verdict, Verifier
from tuner.kernel.loader import load_kernel

Verify: TypeAlias = Callable[..., Verdict]
STEP = "             launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(N,))),"


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """The verdict on the default of an operator, from the text of its file with replacements."""

    def verify(text: str, *edits: tuple[str, str]) -> Verdict:
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        number = len(list(tmp_path.iterdir()))
        (tmp_path / f"kernel_{number}.py").write_text(text)
        kernel = load_kernel(f"kernel_{number}.py", tmp_path)
        problem = Problem.of(kernel, dict.fromkeys(kernel.dims, 100))
        verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=120, memory_bytes=8 << 30)
        try:
            return verifier.submit(kernel.default).result(timeout=180)
        finally:
            verifier.close()

    return verify


@pytest.mark.parametrize("text", [PEAK, TOTAL, ONE_POINTER, TWO_POINTERS], ids=["chain", "start", "one", "two"])
def test_all_launches_together_are_held_against_the_reference(verify: Verify, text: str) -> None:
    verdict = verify(text)
    assert (verdict.kind, verdict.why) == ("verified", "")


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (PEAK, "best = tl.maximum", "best = tl.minimum", "peak is wrong at M=1 N=1"),
        (PEAK, "tl.max(x.to(tl.float32), 0) * scale)", "tl.min(x.to(tl.float32), 0) * scale)", "peak is wrong"),
        (PEAK, "+ part, tl.max", "+ part + 1, tl.max", "'partial' out of bounds"),
        (PEAK, "0) * scale)", "0) * scale, mask=part > 0)", "peak is wrong"),  # the workspace is not cleared
        (TOTAL, "start=0", "start=1", "total is wrong"),
        (TOTAL, "start=0", "start=float('inf')", "total is wrong"),
        (ONE_POINTER, "mask=at < n)\n", "mask=at < n - 1)\n", "turned is wrong"),
        (TWO_POINTERS, "-tl.load(x_ptr", "-2 * tl.load(x_ptr", "turned is wrong"),
    ],
)
def test_a_fault_in_any_launch_is_found(verify: Verify, text: str, old: str, new: str, said: str) -> None:
    verdict = verify(text, (old, new))
    assert verdict.kind == "wrong"
    assert said in verdict.why


def test_a_step_with_a_reference_of_its_own_is_named_when_it_is_wrong(verify: Verify) -> None:
    right = (
        "reference=lambda x, scale, TILE: "
        "np.array([[r[i:i + TILE].max() * scale for i in range(0, len(r), TILE)] for r in x]),"
    )
    numpy = ("import triton\n", "import numpy as np\nimport triton\n")
    verdict = verify(PEAK, numpy, (STEP, STEP.replace("launch=", f"{right} launch=")))
    assert (verdict.kind, verdict.why) == ("verified", "")
    verdict = verify(PEAK, numpy, (STEP, STEP.replace("launch=", f"{right.replace('max', 'min')} launch=")))
    assert verdict.kind == "wrong"
    assert verdict.why.startswith("step parts: partial is wrong at ")


def test_what_a_kernel_adds_to_an_output_needs_a_start(verify: Verify) -> None:
    assert verify(TOTAL, (", start=0", "")).kind == "wrong"
