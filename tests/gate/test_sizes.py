"""Sizes that depend on each other, whole tiles and declared values, from declaration to verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tuner.errors import ConfigError
from tuner.gate.instances import instances, sizes_note
from tuner.gate.verifier import MOST_OPERATIONS, Verifier
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Problem, Range
from tuner.outcome import Failure

HEAD = """
import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, Tolerance, ascending, below, cdiv, counts, lengths
from tuner import permutation, powers_of_two

"""

SEGMENTS = (
    HEAD
    + """
@triton.jit
def weigh(values_ptr, offsets_ptr, weights_ptr, D, result_ptr, TILE: tl.constexpr):
    segment = tl.program_id(0)
    begin, end = tl.load(offsets_ptr + segment), tl.load(offsets_ptr + segment + 1)
    weight = tl.load(weights_ptr + segment)
    for row in range(begin, end):
        for start in range(0, D, TILE):
            at = start + tl.arange(0, TILE)
            place = row * D + at
            tl.store(result_ptr + place, weight * tl.load(values_ptr + place, mask=at < D), mask=at < D)


kernel = Kernel(
    id="test::weigh",
    source=weigh,
    inputs={
        "values": Tensor("fp32", "L D"),
        "offsets": Tensor("i32", "B + 1", values=ascending(0, "L")),
        "weights": Tensor("fp32", "B"),
    },
    outputs={"result": Tensor("fp32", "L D")},
    params=[powers_of_two("TILE", 64, 256), powers_of_two("num_warps", 1, 4)],
    default={"TILE": 128, "num_warps": 2},
    launch=lambda B, D: Launch(grid=(B,), args=(D,)),
    reference=lambda values, offsets, weights: values * np.repeat(weights, np.diff(offsets))[:, None],
    tolerances={"fp32": Tolerance(rtol=2**-20, atol=2**-126)},
    tiles={"D": "TILE"},
)
"""
)

MEANS = (
    HEAD
    + """
@triton.jit
def row_mean(x_ptr, S, y_ptr, TILE: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((TILE,), tl.float32)
    for begin in range(0, S, TILE):
        total += tl.load(x_ptr + row * S + begin + tl.arange(0, TILE))
    tl.store(y_ptr + row, tl.sum(total) / S)


kernel = Kernel(
    id="test::row_mean",
    source=row_mean,
    inputs={"x": Tensor("fp32", "E S")},
    outputs={"y": Tensor("fp32", "E")},
    params=[powers_of_two("TILE", 64, 256), powers_of_two("num_warps", 1, 4)],
    default={"TILE": 128, "num_warps": 2},
    launch=lambda E, S: Launch(grid=(E,), args=(S,)),
    reference=lambda x: x.mean(axis=-1),
    tolerances={"fp32": Tolerance(rtol=2**-14, atol=2**-14)},
    whole_tiles={"S": "TILE"},
)
"""
)

DIFFERENCES = (
    HEAD
    + """
@triton.jit
def differences(x_ptr, order_ptr, N, y_ptr, TILE: tl.constexpr):
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    before = tl.load(x_ptr + tl.load(order_ptr + at, mask=at < N - 1), mask=at < N - 1)
    tl.store(y_ptr + at, tl.load(x_ptr + at + 1, mask=at < N - 1) - before, mask=at < N - 1)


kernel = Kernel(
    id="test::differences",
    source=differences,
    inputs={"x": Tensor("fp32", "N"), "order": Tensor("i32", "N - 1", values=permutation("N - 1"))},
    outputs={"y": Tensor("fp32", "N - 1")},
    params=[powers_of_two("TILE", 64, 256)],
    default={"TILE": 128},
    launch=lambda N, TILE: Launch(grid=(cdiv(N - 1, TILE),), args=(N,)),
    reference=lambda x, order: x[1:] - x[order],
    tiles={"N": "TILE"},
)
"""
)

GATHER = (
    HEAD
    + """
@triton.jit
def gather(x_ptr, order_ptr, expert_ptr, used_ptr, table_ptr, counts_ptr, E, D, out_ptr, first_ptr, TILE: tl.constexpr):
    row = tl.program_id(0)
    source, expert, used = tl.load(order_ptr + row), tl.load(expert_ptr + row), tl.load(used_ptr + row)
    at = tl.program_id(1) * TILE + tl.arange(0, TILE)
    x = tl.load(x_ptr + source * D + at, mask=at < used, other=0.0)
    y = x * tl.load(table_ptr + expert * D + at, mask=at < D, other=0.0)
    tl.store(out_ptr + row * D + at, y, mask=at < D)
    if (row < E) & (tl.program_id(1) == 0):
        total = 0
        for i in range(0, row):
            total += tl.load(counts_ptr + i)
        tl.store(first_ptr + row, total)


def reference(x, order, expert, used, table, counts):
    assert counts.sum() == len(x) and len(set(order)) == len(x) and (table >= 0.5).all()
    kept = np.where(np.arange(x.shape[1]) < used[:, None], x[order], 0.0)
    return kept * table[expert], (np.cumsum(counts) - counts)[: len(x)]


kernel = Kernel(
    id="test::gather",
    source=gather,
    inputs={
        "x": Tensor("fp32", "T D"),
        "order": Tensor("i32", "T", values=permutation("T")),
        "expert": Tensor("i64", "T", values=below("E")),
        "used": Tensor("i32", "T", values=lengths("D")),
        "table": Tensor("fp32", "E D", values=lambda rng, dims: rng.uniform(0.5, 2.0, (dims["E"], dims["D"]))),
        "counts": Tensor("i32", "E", values=counts("T")),
    },
    outputs={"out": Tensor("fp32", "T D"), "first": Tensor("i32", "min(E, T)")},
    params=[powers_of_two("TILE", 64, 256)],
    default={"TILE": 128},
    launch=lambda T, D, E, TILE: Launch(grid=(T, cdiv(D, TILE)), args=(E, D)),
    reference=reference,
    tiles={"D": "TILE"},
)
"""
)

PADDED = (
    HEAD
    + """
@triton.jit
def border(x_ptr, H, W, y_ptr, windows_ptr, pad: tl.constexpr, K: tl.constexpr, TILE: tl.constexpr):
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    HP, WP = H + 2 * pad, W + 2 * pad
    i, j = at // WP - pad, at % WP - pad
    inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
    tl.store(y_ptr + at, tl.load(x_ptr + i * W + j, mask=inside, other=0.0), mask=at < HP * WP)
    rows = (HP - K) // K + 1
    tl.store(windows_ptr + at, at * K, mask=at < rows)


kernel = Kernel(
    id="test::border",
    source=border,
    inputs={"x": Tensor("fp32", "H W")},
    outputs={"y": Tensor("fp32", "H + 2*pad W + 2*pad"), "windows": Tensor("i32", "(H + 2*pad - K)//K + 1")},
    attributes={"pad": 1, "K": 3},
    params=[powers_of_two("TILE", 64, 256)],
    default={"TILE": 128},
    launch=lambda H, W, pad, TILE: Launch(grid=(cdiv((H + 2 * pad) * (W + 2 * pad), TILE),), args=(H, W)),
    reference=lambda x, pad, K: (np.pad(x, pad), K * np.arange((len(x) + 2 * pad - K) // K + 1)),
)
"""
)

Made: TypeAlias = Callable[..., Problem]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Make a problem of a kernel with one piece of its text replaced by another."""

    def made(text: str, dims: dict[str, Any], old: str = "", new: str = "") -> Problem:
        assert old in text
        file = tmp_path / "kernel.py"
        file.write_text(text.replace(old, new) if old else text)
        return Problem.of(load_kernel(str(file), tmp_path), dims)

    return made


def verdict(problem: Problem, operations: int = MOST_OPERATIONS) -> Any:
    verifier = Verifier(
        problem, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=4 << 30, operations=operations
    )
    try:
        answer = verifier.submit(problem.kernel.default).result()
    finally:
        verifier.close()
    return answer.failure() or answer


@pytest.mark.parametrize(
    ("text", "dims"),
    [
        (SEGMENTS, {"L": 4000, "D": 300, "B": 16}),
        (SEGMENTS, {"L": Range(1, 100, 500), "D": 64, "B": Range(1, 8, 9)}),
        (MEANS, {"E": 16, "S": 2048}),
        (DIFFERENCES, {"N": 100_000}),
        (DIFFERENCES, {"N": Range(2, 1000, 5000)}),
        (GATHER, {"T": 256, "D": 512, "E": 8}),
        (GATHER, {"T": Range(1, 32, 40), "D": 64, "E": 8}),
        (PADDED, {"H": 56, "W": 31}),
        (PADDED, {"H": Range(1, 9, 20), "W": Range(1, 9, 20)}),
    ],
)
def test_a_right_kernel_is_verified_at_sizes_that_the_gate_chooses(made: Made, text: str, dims: dict[str, Any]) -> None:
    answer = verdict(made(text, dims))
    assert getattr(answer, "kind", answer) == "verified", answer
    assert "small sizes" in answer.checked


@pytest.mark.parametrize(
    ("text", "dims", "old", "new", "said"),
    [
        (
            SEGMENTS,
            {"L": 400, "D": 64, "B": 4},
            "range(begin, end)",
            "range(begin, end - 1)",
            "is unwritten, or made of what was there before",
        ),
        (SEGMENTS, {"L": 400, "D": 64, "B": 4}, "segment + 1)", "segment + 2)", "reads 'offsets' out of bounds"),
        (MEANS, {"E": 4, "S": 256}, "range(0, S, TILE)", "range(TILE, S, TILE)", "y is wrong at E=1 S=128"),
        (GATHER, {"T": 99, "D": 64, "E": 8}, "mask=at < used", "mask=at < D", "out is wrong at"),
        (GATHER, {"T": 99, "D": 64, "E": 8}, "range(0, row)", "range(0, row + 1)", "first is wrong at"),
        (PADDED, {"H": 56, "W": 31}, "mask=at < HP * WP", "mask=at < H * W", "y is wrong at H=1 W=1"),
        (DIFFERENCES, {"N": 999}, "x_ptr + at + 1", "x_ptr + at", "y is wrong at N=16"),
    ],
)
def test_a_wrong_kernel_fails(made: Made, text: str, dims: dict[str, Any], old: str, new: str, said: str) -> None:
    failure = verdict(made(text, dims, old, new))
    assert isinstance(failure, Failure)
    assert said in failure.message and "; the gate chose these sizes itself" in failure.message


def test_a_fault_at_sizes_of_the_gate_says_what_narrows_them(made: Made) -> None:
    failure = verdict(made(MEANS, {"E": 16, "S": 2048}, 'whole_tiles={"S": "TILE"}', 'tiles={"S": "TILE"}'))
    assert isinstance(failure, Failure)
    assert failure.message == (
        "program (0, 0, 0) reads 'x' out of bounds: element 1 of 1 at E=1 S=1; the gate chose these sizes itself, to "
        "reach every edge of a tile; the problem has E=16 S=2048: where the kernel is for certain sizes only, "
        "whole_tiles, an extent such as cdiv(S, 128), values= or a Constraint such as S % TILE == 0 says which, and "
        "the gate then takes only such"
    )


def test_a_reference_that_fails_at_sizes_of_the_gate_says_the_same(made: Made) -> None:
    problem = made(SEGMENTS, {"L": 400, "D": 64, "B": 4}, ', values=ascending(0, "L")', ', positions="L"')
    with pytest.raises(ConfigError, match=r"reference at L=1 D=1 B=1 returned .*; the gate chose these sizes itself.*"):
        verdict(problem)


def test_whole_tiles_are_a_constraint(made: Made) -> None:
    problem = made(MEANS, {"E": 16, "S": 192})
    assert {p["TILE"] for p in problem.space} == {64}
    assert not list(made(MEANS, {"E": 16, "S": Range(64, 128, 256)}).space)  # sizes between are no multiples


@pytest.mark.parametrize("tile", [64, 128, 256])
@pytest.mark.parametrize("unit", ["TILE", "3*TILE", "16", "max(TILE, 100)"])
def test_sizes_of_whole_tiles_are_multiples(made: Made, tile: int, unit: str) -> None:
    problem = made(MEANS, {"E": 16, "S": 3 * 2**14 * 100}, '"S": "TILE"', f'"S": "{unit}"')
    step = {"TILE": tile, "3*TILE": 3 * tile, "16": 16, "max(TILE, 100)": max(tile, 100)}[unit]
    found = instances(problem, {"TILE": tile, "num_warps": 1})
    assert len({p.sizes()["S"] for p in found}) > 2
    assert all(p.sizes()["S"] % step == 0 for p in found)


def test_sizes_at_which_nothing_is_left_are_not_taken(made: Made) -> None:
    problem = made(DIFFERENCES, {"N": 100})
    assert {p.sizes()["N"] for p in instances(problem, {"TILE": 64})} == {16, 33, 64, 129, 128}
    few = made(DIFFERENCES, {"N": 100}, 'permutation("N - 1")', 'permutation("N - 40")')
    with pytest.raises(ConfigError, match=r"values of input 'order' at N=100: .* has fewer values than the 99"):
        verdict(few)


def test_only_sizes_that_are_not_the_problems_own_are_the_gates(made: Made) -> None:
    problem = made(DIFFERENCES, {"N": Range(10, 100, 500)})
    assert sizes_note(problem, problem.usual) == ""
    assert sizes_note(problem, problem.at({"N": 500})) == ""
    assert sizes_note(problem, problem.at({"N": 33})).endswith(
        "the gate chose these sizes itself, within those of the problem, which has N=10:100:500"
    )


WIDER = {
    "no": ("row * D", "row * D"),
    "the width": ("row * D", "row * D.to(tl.int64)"),
    "the bounds of the loop": ("range(begin, end)", "range(begin.to(tl.int64), end.to(tl.int64))"),
}


@pytest.mark.parametrize("wider", WIDER)
def test_offsets_of_segments_are_followed_at_full_size(made: Made, wider: str) -> None:
    answer = verdict(made(SEGMENTS, {"L": 1 << 22, "D": 1024, "B": 1 << 20}, *WIDER[wider]))
    if wider == "no":
        assert isinstance(answer, Failure) and "offsets that do not fit 32 bits wrap around" in answer.message
    else:
        assert answer.kind == "verified" and "offsets of" in answer.checked, answer


def test_a_size_that_would_take_too_many_operations_is_left_out(made: Made) -> None:
    text = MEANS.replace('whole_tiles={"S": "TILE"}', "constraints=[Constraint('s', lambda S: S % 256 == 0, 'x')]")
    answer = verdict(made(text, {"E": Range(1, 100, 200), "S": 512}), operations=2000)
    assert getattr(answer, "kind", answer) == "verified", answer


HALF = (
    HEAD
    + """
from tuner import next_power_of_2


@triton.jit
def twice(x_ptr, y_ptr, n_cols, WIDE: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, WIDE)
    inside = at < n_cols
    tl.store(y_ptr + row * n_cols + at, 2 * tl.load(x_ptr + row * n_cols + at, mask=inside), mask=inside)


kernel = Kernel(
    id="test::twice",
    source=twice,
    inputs={"x": Tensor("fp32", "M N")},
    outputs={"y": Tensor("fp32", "M N")},
    params=[powers_of_two("num_warps", 1, 2)],
    default={"num_warps": 1},
    constants=lambda N: {"WIDE": max(16, next_power_of_2(N))},
    launch=lambda M, N: Launch(grid=(M,), args={"n_cols": N}),
    reference=lambda x: 2 * x,
)
"""
)


@pytest.mark.parametrize("width", ["next_power_of_2(N)", "next_power_of_2(N + 1) // 2"])
def test_a_constant_that_is_wrong_at_the_size_of_the_problem_alone_is_found(tmp_path: Path, width: str) -> None:
    (tmp_path / "twice.py").write_text(HALF.replace("next_power_of_2(N))", f"{width})"))
    found = verdict(Problem.of(load_kernel("twice.py", tmp_path), {"M": 4096, "N": 1000}))
    if "//" in width:
        assert isinstance(found, Failure)
        assert "N=1000" in found.message
    else:
        assert found.verified == "verified"
