"""Kernels whose values come in structures of Triton pass the gate, and their mistakes are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.gate.verifier import Verifier
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem

KERNEL = """
import triton
import triton.language as tl
from triton.language.core import _aggregate as aggregate

from tuner import Kernel, Launch, Tensor, cdiv, powers_of_two


@aggregate
class Span:
    base: tl.tensor
    n: tl.tensor
    BLOCK: tl.constexpr

    @triton.constexpr_function
    def __init__(self, base, n, BLOCK):
        self.base = base
        self.n = n
        self.BLOCK = tl.constexpr(BLOCK)

    @triton.jit
    def offsets(self):
        return tl.program_id(0) * self.BLOCK + tl.arange(0, self.BLOCK)

    @triton.jit
    def load(self):
        at = self.offsets()
        return tl.load(self.base + at, mask=at < self.n)


@tl.core._aggregate
class Sum:
    value: tl.tensor

    @triton.constexpr_function
    def __init__(self, value):
        self.value = value

    @staticmethod
    @triton.jit
    def start(like):
        return Sum(like * 0.0)

    @triton.jit
    def plus(self, value):
        return Sum(self.value + value)


@triton.jit
def double(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    span = Span(x_ptr, n, BLOCK)
    total = Sum.start(span.load())
    for _ in range(2):
        total = total.plus(span.load())
    at = span.offsets()
    tl.store(y_ptr + at, total.value, mask=at < n)


kernel = Kernel(
    id="test::double",
    source=double,
    inputs={"x": Tensor("fp32", "*N")},
    outputs={"y": Tensor("fp32", "*N")},
    params=[powers_of_two("BLOCK", 64, 128)],
    default={"BLOCK": 64},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x: x * 2,
    tiles={"N": "BLOCK"},
)
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "verified"),
        ("self.value + value", "self.value - value", "y is wrong"),
        ("at < self.n", "at <= self.n", "reads 'x' out of bounds"),
    ],
)
def test_aggregates_are_interpreted(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL.replace(old, new) if old else KERNEL)
    kernel = load_kernel("kernel.py", tmp_path)
    verifier = Verifier(
        Problem.of(kernel, {"N": 1000}, {}, {}),
        seed=0,
        store=None,
        workers=1,
        timeout_s=60,
        memory_bytes=4 << 30,
    )
    try:
        verdict = verifier.submit(kernel.default).result(timeout=60)
    finally:
        verifier.close()
    assert said in (verdict.why or verdict.verified)


@pytest.mark.parametrize(
    "edit", [("at < self.n", "at <= self.n"), ("value: tl.tensor", "value: tl.tensor\n    w: tl.tensor")]
)
def test_an_edit_of_an_aggregate_makes_another_kernel(tmp_path: Path, edit: tuple[str, str]) -> None:
    texts = []
    for folder, text in (("a", KERNEL), ("b", KERNEL.replace(*edit))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kernel.py").write_text(text)
        texts.append(load_kernel("kernel.py", tmp_path / folder).code.text())
    assert texts[0] != texts[1]
