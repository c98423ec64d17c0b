"""The gate runs kernels as people write them: with libdevice, in factories, with helpers in other modules."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tuner import Problem
from tuner.gate.verifier import Verifier
from tuner.kernel.loader import load_kernel
from tuner.outcome import VERIFIED, Failure

FILE = """
import numpy as np
import triton
import triton.language as tl
{imports}
from tuner import Kernel, Launch, Tensor, cdiv, choice


def make({variables}):
    {inside}

    @triton.jit
    def bend(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n, other=0.0)
        tl.store(y_ptr + at, {code}, mask=at < n)

    return Kernel(
        id="test::bend",
        source=bend,
        inputs={{"x": Tensor("fp32", "N")}},
        outputs={{"y": Tensor("fp32", "N")}},
        params=[choice("BLOCK", 64)],
        default={{"BLOCK": 64}},
        launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), (N,)),
        reference=lambda x: {reference},
        tiles={{"N": "BLOCK"}},
    )


kernel = make({values})
"""

HELPER = """
import triton
from triton.language.extra.libdevice import round as nearest
from triton.language.math import rsqrt


@triton.jit
def shrink(x):
    return nearest(x * 3.0) * rsqrt(1.0 + x * x)
"""


def verdict(folder: Path, **parts: str) -> str | Failure:
    """What the gate says of a kernel made of these parts."""
    defaults = {"imports": "", "variables": "", "values": "", "inside": "pass", "code": "x", "reference": "x"}
    (folder / "kernel.py").write_text(FILE.format(**{**defaults, **parts}))
    problem = Problem.of(load_kernel("kernel.py", folder), {"N": 1000})
    with closing(Verifier(problem, seed=0, store=None, workers=1, timeout_s=120, memory_bytes=4 << 30)) as verifier:
        found = verifier.submit(problem.kernel.default).result(timeout=180)
    return found.failure() or found.verified


@pytest.mark.parametrize(
    ("imports", "code", "reference"),
    [
        ("from triton.language.extra import libdevice", "libdevice.tanh(x)", "np.tanh(x)"),
        ("from triton.language.extra.libdevice import tanh", "tanh(x)", "np.tanh(x)"),
        ("from triton.language.extra.cuda import libdevice as cuda", "cuda.pow(x, 2.0)", "x * x"),
        ("from triton.language.extra.cuda.libdevice import isnan", "tl.where(isnan(x), 0.0, x)", "x"),
        ("", "tl.extra.libdevice.rint(x)", "np.rint(x)"),
    ],
)
def test_functions_of_libdevice_are_run_however_they_are_imported(
    tmp_path: Path, imports: str, code: str, reference: str
) -> None:
    assert verdict(tmp_path, imports=imports, code=code, reference=reference) == VERIFIED


def test_another_function_of_libdevice_is_found_to_be_wrong(tmp_path: Path) -> None:
    answer = verdict(
        tmp_path,
        imports="from triton.language.extra import libdevice",
        code="libdevice.sinh(x)",
        reference="np.tanh(x)",
    )
    assert isinstance(answer, Failure)


def test_a_kernel_made_by_a_function_keeps_its_closure(tmp_path: Path) -> None:
    inside = "FACTOR = tl.constexpr(factor)\n    from triton.language.extra.libdevice import tanh"
    parts = {"variables": "factor", "inside": inside, "code": "tanh(x) * FACTOR"}
    assert verdict(tmp_path, values="3", reference="3 * np.tanh(x)", **parts) == VERIFIED


def test_a_helper_of_a_module_without_tritons_language_is_run(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    reference = "np.trunc(3 * x + np.copysign(0.5, x)) / np.sqrt(1 + x * x)"
    assert verdict(tmp_path, imports="from helper import shrink", code="shrink(x)", reference=reference) == VERIFIED
