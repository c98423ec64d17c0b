"""Operators of several launches, and one that works in place, as kernel files."""

from __future__ import annotations

HEAD = """
import triton
import triton.language as tl

from tuner import Alias, Chain, Kernel, Launch, Step, Tensor, cdiv, choice, powers_of_two

"""

PEAK = (
    HEAD
    + """
@triton.jit
def parts(x_ptr, N, partial_ptr, scale: tl.constexpr, TILE: tl.constexpr):
    row, part = tl.program_id(0), tl.program_id(1)
    columns = part * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + row * N + columns, mask=columns < N, other=float("-inf"))
    tl.store(partial_ptr + row * tl.num_programs(1) + part, tl.max(x.to(tl.float32), 0) * scale)


@triton.jit
def whole(partial_ptr, parts, peak_ptr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, parts, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        best = tl.maximum(
            best, tl.load(partial_ptr + row * parts + columns, mask=columns < parts, other=float("-inf"))
        )
    tl.store(peak_ptr + row, tl.max(best, 0).to(peak_ptr.dtype.element_ty))


kernel = Chain(
    id="test::peak",
    inputs={"x": Tensor("T", "M N")},
    outputs={"peak": Tensor("T", "M")},
    workspace={"partial": Tensor("fp32", "M cdiv(N, TILE)")},
    dtypes={"T": ("fp32", "fp16")},
    attributes={"scale": 1.0},
    steps=[
        Step("parts", parts, inputs=("x",), outputs=("partial",), params=[choice("num_warps", 1, 2)],
             launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(N,))),
        Step("whole", whole, inputs=("partial",), outputs=("peak",), params=[choice("BLOCK", 32, 64)],
             launch=lambda M, N, TILE: Launch(grid=(M,), args=(cdiv(N, TILE),))),
    ],
    params=[powers_of_two("TILE", 64, 256)],
    default={"TILE": 64, "parts_num_warps": 2, "whole_BLOCK": 64},
    reference=lambda x, scale: (x * scale).max(axis=-1),
)
"""
)
"""Two steps with a workspace whose extent depends on a tuned parameter; 12 tactics."""

TOTAL = (
    HEAD
    + """
@triton.jit
def total(x_ptr, M, N, total_ptr, TILE: tl.constexpr):
    columns = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + tl.program_id(0) * N + columns, mask=columns < N, other=0)
    tl.atomic_add(total_ptr + columns, x.to(tl.float32), mask=columns < N)


kernel = Kernel(
    id="test::total",
    source=total,
    inputs={"x": Tensor("T", "M N")},
    outputs={"total": Tensor("fp32", "N", start=0)},
    dtypes={"T": ("fp32", "fp16")},
    params=[powers_of_two("TILE", 64, 256), choice("num_warps", 1, 2)],
    default={"TILE": 64, "num_warps": 2},
    launch=lambda M, N, TILE: Launch(grid=(M, cdiv(N, TILE)), args=(M, N)),
    reference=lambda x: x.sum(axis=0),
)
"""
)
"""An output that starts at zero and is only added to; 6 tactics."""

TURN = (
    HEAD
    + """
@triton.jit
def turn(PARAMETERS, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(TO + at, -tl.load(FROM + at, mask=at < n), mask=at < n)


kernel = Kernel(
    id="test::turn",
    source=turn,
    inputs={"x": Tensor("T", "*N")},
    outputs={"turned": Alias("x")},
    dtypes={"T": ("fp32", "fp16")},
    params=[powers_of_two("BLOCK", 128, 256)],
    default={"BLOCK": 128},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x: -x,
)
"""
)

ONE_POINTER = TURN.replace("PARAMETERS", "x_ptr, n").replace("TO", "x_ptr").replace("FROM", "x_ptr")
"""In place, through one pointer; 2 tactics."""

TWO_POINTERS = TURN.replace("PARAMETERS", "x_ptr, n, turned_ptr").replace("TO", "turned_ptr").replace("FROM", "x_ptr")
"""In place, read through the input's pointer and written through the output's."""
