"""Scalars of a type of their own arrive as Triton's launcher passes them, for no instruction more."""

from __future__ import annotations

from typing import Any

import pytest
import triton
import triton.language as tl

from tuner import Kernel, Launch, Problem, Tensor, choice
from tuner.compile.pipeline import compile_tactic
from tuner.gpu.target import Target

H100 = Target((9, 0))
TACTIC = {"BLOCK": 512}


@triton.jit  # type: ignore[untyped-decorator]
def passed(x_ptr, y_ptr, factor, shift, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, tl.load(x_ptr + at) * factor + shift.to(tl.float32))


@triton.jit  # type: ignore[untyped-decorator]
def written(x_ptr, y_ptr, factor: tl.constexpr, shift: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, tl.load(x_ptr + at).to(tl.float32) * factor + shift)


@triton.jit  # type: ignore[untyped-decorator]
def asked(x_ptr, y_ptr, flag, count, wide: tl.int64, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.static_assert(flag.dtype == tl.int1)
    tl.static_assert(count.dtype == tl.int32)
    tl.static_assert(wide.dtype == tl.int64)
    tl.store(y_ptr + at, tl.load(x_ptr + at).to(tl.float32) * count + wide)


def declare(source: Any, attributes: dict[str, Any], **changes: Any) -> Problem:
    kernel = Kernel(
        id="test::scalars",
        source=source,
        inputs={"x": Tensor("bf16", "512")},
        outputs={"y": Tensor("fp32", "512")},
        params=[choice("BLOCK", 512)],
        default=TACTIC,
        launch=lambda BLOCK: Launch((1,)),
        reference=lambda x: x,
        attributes=attributes,
        **changes,
    )
    return Problem.of(kernel, {})


def test_a_float_is_an_fp32_scalar_and_costs_what_a_constant_costs() -> None:
    values = {"factor": 0.3, "shift": 0.1}
    scalar = compile_tactic(declare(passed, values), TACTIC, H100)
    constant = compile_tactic(declare(written, values), TACTIC, H100)
    assert scalar.resources == constant.resources, "bf16 times an fp32 scalar is fp32"
    assert len(scalar.ptx.split(".param")) == len(constant.ptx.split(".param"))


def test_integers_and_flags_have_the_launchers_types() -> None:
    compile_tactic(declare(asked, {"flag": True, "count": 3, "wide": 2}), TACTIC, H100)


@pytest.mark.parametrize("value", [float("inf"), 0.0, -1.5e-30])
def test_any_float_is_compiled_in(value: float) -> None:
    compile_tactic(declare(passed, {"factor": value, "shift": value}), TACTIC, H100)
