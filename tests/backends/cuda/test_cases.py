"""What a launch is given and judged by, with numpy in the kernel's place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl

from tuner import Kernel, Launch, Problem, Range, Tensor, ascending, cdiv, choice
from tuner.backends.cuda.bench import Evidence
from tuner.backends.cuda.cases import (
    INPUT_ELEMENTS,
    OUTPUT_ELEMENTS,
    TILE_ELEMENTS,
    Case,
    Cases,
    cuttable,
    judge,
    make_case,
)
from tuner.errors import ConfigError
from tuner.frontends.dtypes import DTYPES
from tuner.kernel.loader import load_kernel

Array = np.ndarray[Any, Any]


@triton.jit  # type: ignore[untyped-decorator]
def unary(x_ptr, m, n, y_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Never run here: these tests are about shapes and references."""


@triton.jit  # type: ignore[untyped-decorator]
def binary(a_ptr, b_ptr, m, n, c_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Never run here."""


@triton.jit  # type: ignore[untyped-decorator]
def ternary(x_ptr, at_ptr, scale_ptr, m, n, y_ptr, pairs_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Never run here."""


def kernel(
    source: Any,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    reference: Callable[..., Any],
    dtype: str = "fp32",
) -> Kernel:
    return Kernel(
        id="test::kernel",
        source=source,
        inputs={n: Tensor(dtype, s) for n, s in inputs.items()},
        outputs={n: Tensor(dtype, s) for n, s in outputs.items()},
        params=[choice("BLOCK", 16, 32)],
        default={"BLOCK": 16},
        launch=lambda M, N, BLOCK: Launch(grid=(cdiv(M, BLOCK),), args=(M, N)),
        reference=reference,
    )


ROWS = kernel(unary, {"x": "M N"}, {"y": "M N"}, lambda x: x / np.abs(x).sum(axis=1, keepdims=True))
TRANSPOSE = kernel(unary, {"x": "M N"}, {"y": "N M"}, lambda x: x.T)
PRODUCT = kernel(binary, {"a": "M K", "b": "K N"}, {"c": "M N"}, lambda a, b: a @ b)
TOTAL = kernel(unary, {"x": "M N"}, {"y": "1"}, lambda x: x.sum(keepdims=True).reshape(1))
CUMULATIVE = kernel(unary, {"x": "M N"}, {"y": "M N"}, lambda x: np.cumsum(x, axis=0))
INCREMENT = load_kernel("increment.py", Path(__file__).parents[3] / "kernels")


@pytest.mark.parametrize(
    ("declared", "dims"),
    [(ROWS, ("M",)), (TRANSPOSE, ("M", "N")), (PRODUCT, ("M", "N")), (TOTAL, ()), (CUMULATIVE, ("N",))],
)
def test_a_dimension_is_cut_only_where_the_reference_allows(declared: Kernel, dims: tuple[str, ...]) -> None:
    problem = Problem.of(declared, {"M": 64, "N": 32, **({"K": 16} if declared is PRODUCT else {})})
    assert cuttable(problem) == dims


def simulate(case: Case, run: Callable[..., Any]) -> Evidence:
    """Run numpy code on the whole inputs that the device would hold; bring back the samples."""
    kernel = case.problem.kernel
    arrays = {}
    for (name, tensor), i in zip(kernel.inputs.items(), case.workload.inputs, strict=True):
        whole = np.resize(i.tile, i.size).view(DTYPES[case.problem.dtype(tensor)].numpy)
        arrays[name] = whole.reshape(case.problem.shape(tensor)).astype(np.float64)
    (tensor,), (output,) = kernel.outputs.values(), case.workload.outputs
    result = np.asarray(run(**arrays)).astype(DTYPES[case.problem.dtype(tensor)].numpy).reshape(-1)
    return Evidence((0,), (0,), (), (result[output.samples.astype(np.int64)].tobytes(),))


@pytest.mark.parametrize(
    ("declared", "sizes"),
    [
        (ROWS, {"M": 3000, "N": 700}),
        (TRANSPOSE, {"M": 1500, "N": 1100}),
        (PRODUCT, {"M": 900, "N": 500, "K": 1100}),
        (CUMULATIVE, {"M": 400, "N": 2000}),
    ],
)
def test_a_right_result_passes_and_one_wrong_element_at_a_corner_fails(declared: Kernel, sizes: dict[str, int]) -> None:
    case = make_case(Problem.of(declared, sizes), seed=1)
    reference = declared.reference
    assert judge(case, simulate(case, reference)) is None

    def last_wrong(**arrays: Array) -> Array:
        result = np.array(reference(**arrays))
        result[-1, -1] += 1
        return result

    fault = judge(case, simulate(case, last_wrong))
    assert fault is not None and "1 of" in fault and "off by more than the tolerance" in fault


def test_samples_stay_within_limits_and_are_counted() -> None:
    case = make_case(Problem.of(PRODUCT, {"M": 4096, "N": 4096, "K": 4096}), seed=0)
    assert case.elements == 4096**2
    assert case.checked <= OUTPUT_ELEMENTS
    assert all(np.prod(case.part.shape(t)) <= INPUT_ELEMENTS for t in PRODUCT.inputs.values())
    rows = np.unique(case.workload.outputs[0].samples // 4096)
    assert {0, 1, 2, 3, 4092, 4093, 4094, 4095} <= set(rows.tolist())


def test_a_costly_reference_sees_few_positions_the_ends_among_them() -> None:
    costly = replace(PRODUCT, flops=lambda M, N, K: 10**9 * M * N * K)
    case = make_case(Problem.of(costly, {"M": 4096, "N": 64, "K": 16}), seed=0)
    assert case.part.sizes() == {"M": 2, "N": 2, "K": 16}
    assert sorted(case.workload.outputs[0].samples.tolist()) == [0, 63, 4095 * 64, 4096 * 64 - 1]
    assert judge(case, simulate(case, costly.reference)) is None


def test_what_may_not_be_cut_is_taken_whole() -> None:
    case = make_case(Problem.of(TOTAL, {"M": 1500, "N": 1000}), seed=0)
    assert case.part.sizes() == case.problem.sizes()
    assert judge(case, simulate(case, TOTAL.reference)) is None


def test_small_problems_are_compared_in_full() -> None:
    case = make_case(Problem.of(INCREMENT, {"N": 1000}), seed=0)
    assert case.checked == case.elements == 1000


def test_inputs_repeat_only_after_a_prime_number_of_elements() -> None:
    case = make_case(Problem.of(INCREMENT, {"N": 1 << 22}), seed=0)
    assert len(case.workload.inputs[0].tile) == 4 * TILE_ELEMENTS
    assert all(TILE_ELEMENTS % d for d in range(2, 1025))
    shifted = judge(case, simulate(case, lambda x: np.roll(x, 1 << 20) + 1))
    assert shifted is not None


def test_inputs_depend_on_the_seed_and_are_the_same_again() -> None:
    problem = Problem.of(INCREMENT, {"N": 1000})
    tiles = [make_case(problem, seed).workload.inputs[0].tile for seed in (0, 0, 1)]
    assert (tiles[0] == tiles[1]).all()
    assert (tiles[0] != tiles[2]).any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"unwritten": (7,)}, "7 of 1000 elements of y were never written at N=1000"),
        ({"guards": (16,)}, "16 bytes before or after output y were overwritten"),
        ({"changed": (0,)}, "input x, or memory next to it, was overwritten"),
        ({"samples": (np.full(1000, np.nan, np.float32).tobytes(),)}, "NaN"),
    ],
)
def test_every_kind_of_evidence_counts(change: dict[str, Any], text: str) -> None:
    case = make_case(Problem.of(INCREMENT, {"N": 1000}), seed=0)
    good = simulate(case, lambda x: x + 1)
    assert judge(case, good) is None
    fault = judge(case, Evidence(**{**vars(good), **change}))
    assert fault is not None and text in fault


def test_a_reference_that_raises_is_the_users_to_mend() -> None:
    def broken(x: Array) -> Array:
        raise ValueError("no")

    with pytest.raises(ConfigError, match="raised ValueError"):
        make_case(Problem.of(kernel(unary, {"x": "M N"}, {"y": "M N"}, broken), {"M": 4, "N": 4}), seed=0)


SEGMENTS = Kernel(
    id="test::kernel",
    source=ternary,
    inputs={
        "x": Tensor("fp32", "L D"),
        "at": Tensor("i32", "B + 1", values=ascending(0, "L")),
        "scale": Tensor("fp32", "D", values=lambda rng, dims: rng.uniform(1, 2, dims["D"])),
    },
    outputs={"y": Tensor("fp32", "B D"), "pairs": Tensor("fp32", "B cdiv(B, 2)")},
    params=[choice("BLOCK", 16, 32)],
    default={"BLOCK": 16},
    launch=lambda L, D, BLOCK: Launch(grid=(cdiv(D, BLOCK),), args=(L, D)),
    reference=lambda x, at, scale: (
        np.array([x[a:b].sum(0) for a, b in itertools.pairwise(at)]) * scale,
        np.zeros((len(at) - 1, len(at) // 2)),
    ),
)


def test_inputs_whose_elements_follow_from_each_other_are_placed_and_taken_whole() -> None:
    problem = Problem.of(SEGMENTS, {"L": 3000, "D": 700, "B": 40})
    case = make_case(problem, seed=0)
    assert cuttable(problem) == ()  # D stands in one output only
    offsets = case.workload.inputs[1].tile.view(np.int32)
    assert (offsets[0], offsets[-1], len(offsets)) == (0, 3000, 41)
    assert case.workload.inputs[1].size == 4 * 41
    scale = case.workload.inputs[2].tile.view(np.float32)
    assert len(scale) == 700 and (scale >= 1).all()


def test_dimensions_of_computed_extents_are_taken_whole_and_the_others_cut() -> None:
    def peaks(x: Array) -> Array:
        padded = np.pad(np.abs(x), ((0, 0), (0, -x.shape[1] % 8)))
        return np.asarray(padded.reshape(len(x), -1, 8).max(axis=-1))

    groups = kernel(unary, {"x": "M N"}, {"y": "M cdiv(N, 8)"}, peaks)
    problem = Problem.of(groups, {"M": 9000, "N": 800})
    assert cuttable(problem) == ("M",)
    case = make_case(problem, seed=0)
    assert case.part.sizes()["N"] == 800 and case.part.sizes()["M"] < 9000
    assert judge(case, simulate(case, groups.reference)) is None

    def last_wrong(x: Array) -> Array:
        result = np.array(groups.reference(x))
        result[-1, -1] += 1
        return result

    assert judge(case, simulate(case, last_wrong)) is not None


def test_a_fault_at_a_size_between_says_who_chose_it() -> None:
    problem = Problem.of(ROWS, {"M": Range(10, 64, 900), "N": 32})
    cases = Cases(problem, 0, 0).to_check({"BLOCK": 16})
    own = {10, 64, 900}
    assert {c.problem.sizes()["M"] for c in cases} > own
    for case in cases:
        fault = judge(case, simulate(case, lambda x: x))
        assert fault is not None
        assert ("the gate chose these sizes itself" in fault) == (case.problem.sizes()["M"] not in own)
