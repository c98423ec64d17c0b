"""A problem completes and checks what a user says of shapes, data types and attributes."""

from __future__ import annotations

from typing import Any

import pytest
import triton
import triton.language as tl
from declare import declare

from tuner import Constraint, Kernel, Launch, Problem, Range, Tensor, cdiv, choice
from tuner.errors import ConfigError
from tuner.frontends import CudaCpp
from tuner.kernel.arith import Multiple
from tuner.kernel.problem import WHICH


@triton.jit  # type: ignore[untyped-decorator]
def scale(x_ptr, n, y_ptr, factor: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) * factor, mask=i < n)


def kernel(**changes: Any) -> Kernel:
    declared: dict[str, Any] = {
        "id": "test::scale",
        "source": scale,
        "inputs": {"x": Tensor("T", "*M N")},
        "outputs": {"y": Tensor("T", "*M N")},
        "dtypes": {"T": ("fp16", "fp32")},
        "attributes": {"factor": 2},
        "params": [choice("BLOCK", 64, 128), choice("num_warps", 1, 2)],
        "constraints": [Constraint("within", lambda BLOCK, N: BLOCK <= N, "no block is longer than a row")],
        "default": {"BLOCK": 64, "num_warps": 1},
        "launch": lambda M, N, BLOCK: Launch(grid=(cdiv(M * N, BLOCK),), args=(M * N,)),
        "reference": lambda x, factor: x * factor,
    }
    return Kernel(**{**declared, **changes})


def test_a_problem_completes_what_is_left_out() -> None:
    problem = Problem.of(kernel(), {"M": (4, 8), "N": 128})
    assert problem.dtypes == {"T": "fp16"}
    assert problem.attributes == {"factor": 2}
    assert problem.shape(problem.kernel.inputs["x"]) == (4, 8, 128)
    assert problem.sizes() == {"M": 32, "N": 128}
    assert problem.bytes() == 2 * 32 * 128 * 2
    assert problem.launch({"BLOCK": 64, "num_warps": 1}) == Launch((64, 1, 1), (4096,))
    assert str(problem) == "test::scale M=4x8 N=128 T=fp16"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (({"M": 4},), "dims: test::scale also needs N"),
        (({"M": 4, "N": 4, "L": 2},), "unknown dimension 'L'"),
        (({"M": 4, "N": 0},), "dims.N: 0 is not a positive size"),
        (({"M": 4, "N": -3},), "dims.N: -3 is not a positive size"),
        (({"M": 4, "N": 2.5},), "dims.N: 2.5 is not a size"),
        (({"M": 4, "N": True},), "dims.N: True is not a size"),
        (({"M": 4, "N": (2, 2)},), r"dims.N: one extent, not 2: only a \*N takes several"),
        (({"M": 4, "N": 4}, {"T": "bf16"}), "dtypes.T: 'bf16' is not supported"),
        (({"M": 4, "N": 4}, {"S": "fp16"}), "unknown dtype variable 'S'"),
        (({"M": 4, "N": 4}, {}, {"factr": 3}), "unknown attribute 'factr'; did you mean 'factor'"),
        (({"M": 4, "N": 4}, {}, {"factor": 3.0}), "attributes.factor: 3.0 is not of type int"),
    ],
)
def test_a_mistake_in_a_problem_is_named(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Problem.of(kernel(), *given)


def test_a_range_must_be_in_order() -> None:
    with pytest.raises(ConfigError, match=r"expected 0 < min <= opt <= max, not \(4, 2, 8\)"):
        Range(4, 2, 8)


def test_a_tactic_must_be_legal_over_the_whole_range() -> None:
    assert Problem.of(kernel(), {"M": 1, "N": 128}).space.size == 4
    assert Problem.of(kernel(), {"M": 1, "N": Range(64, 128, 256)}).space.size == 2


@pytest.mark.parametrize(
    ("dims", "legal"),
    [
        ({"M": 1, "N": 256}, 4),
        ({"M": Range(1, 8, 16), "N": 256}, 4),
        ({"M": 1, "N": Range(64, 128, 256)}, 0),
        ({"M": (Range(64, 128, 256), 128), "N": 1}, 4),
        ({"M": (Range(64, 128, 256), 3), "N": 1}, 0),
    ],
)
def test_what_divides_at_the_ends_alone_is_not_legal_between(dims: dict[str, Any], legal: int) -> None:
    whole = Constraint("whole", lambda BLOCK, M, N: M * N % BLOCK == 0, "the last block would hang over")
    assert Problem.of(kernel(constraints=[whole]), dims).space.size == legal


def test_a_tactic_must_be_legal_where_one_dimension_is_small_and_another_large() -> None:
    square = Constraint("tall", lambda M, N: M >= N, "rows would be longer than columns")
    made = kernel(constraints=[square])
    assert Problem.of(made, {"M": Range(64, 128, 256), "N": 64}).space.size == 4
    assert Problem.of(made, {"M": Range(64, 128, 256), "N": Range(64, 128, 256)}).space.size == 0


@pytest.mark.parametrize(
    ("dims", "divisor"),
    [
        ({"M": Range(1, 4, 9), "N": 128}, 128),
        ({"M": (16, Range(1, 2, 3)), "N": 128}, 2048),
        ({"M": Range(2, 2, 4), "N": Range(64, 128, 192)}, 1),
    ],
)
def test_only_what_divides_every_size_of_the_range_is_promised(dims: dict[str, Any], divisor: int) -> None:
    problem = Problem.of(kernel(), dims)
    (promise,) = problem.argument_multiples(problem.kernel.default)
    assert isinstance(promise, Multiple)
    assert promise.factor == divisor


def test_an_argument_that_never_changes_is_known_as_a_number() -> None:
    problem = Problem.of(kernel(), {"M": 3, "N": 128})
    assert problem.argument_multiples(problem.kernel.default) == (384,)
    row = kernel(launch=lambda M, N: Launch(grid=(M,), args=(N,)))
    assert Problem.of(row, {"M": Range(1, 2, 3), "N": 100}).argument_multiples(row.default) == (100,)


def test_sizes_launch_and_traffic_follow_the_end_of_the_range() -> None:
    made = kernel(flops=lambda M, N: 3 * M * N, bytes=lambda N, T: N if T == "fp16" else 2 * N)
    problem = Problem.of(made, {"M": (4, Range(1, 2, 3)), "N": 128}, {"T": "fp32"})
    assert problem.dynamic
    assert [problem.sizes(w)["M"] for w in WHICH] == [4, 8, 12]
    assert [problem.launch(made.default, w).grid[0] for w in WHICH] == [8, 16, 24]
    assert [problem.flops(w) for w in WHICH] == [1536, 3072, 4608]
    assert problem.bytes() == 256
    assert problem.shape(made.inputs["x"], "max") == (4, 3, 128)
    assert problem.label == "M=4x1:2:3 N=128 T=fp32"
    fixed = problem.at({"M": 5, "N": 64})
    assert (fixed.dynamic, fixed.label) == (False, "M=5 N=64 T=fp32")


def test_a_changed_attribute_is_part_of_the_label_and_an_unchanged_one_is_not() -> None:
    assert Problem.of(kernel(), {"M": 4, "N": 64}, {}, {"factor": 2}).label == "M=4 N=64 T=fp16"
    assert Problem.of(kernel(), {"M": 4, "N": 64}, {}, {"factor": 3}).label == "M=4 N=64 T=fp16 factor=3"


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (lambda N: Launch(grid=(N,)), "launch passes 0 extra integers, the source takes 1"),
        (lambda N: (N,), r"launch must return a Launch, not \(128,\)"),
        (lambda N: Launch(grid=(N // 2, 1, 1, 1), args=(N,)), "a Launch has a grid of 1 to 3 entries, not 4"),
        (
            lambda N, BLOCK: Launch(grid=(N // (BLOCK - 64),), args=(N,)),
            r"the launch of \(BLOCK=64 num_warps=1\) raised ZeroDivisionError: .*; see .*test_problem.py:\d+\)",
        ),
    ],
)
def test_a_launch_that_does_not_fit_is_named(launch: Any, said: str) -> None:
    made = kernel(launch=launch)
    with pytest.raises(ConfigError, match=f"kernel 'test::scale': {said}"):
        Problem.of(made, {"M": 4, "N": 128}).launch(made.default)


def test_a_tolerance_that_is_none_is_named() -> None:
    problem = Problem.of(kernel(tolerances={"fp16": lambda N: N * 1e-3}), {"M": 4, "N": 128})
    with pytest.raises(ConfigError, match=r"tolerance of fp16 must return a Tolerance, not 0.128; see .*test_problem"):
        problem.tolerance("fp16")


def test_a_launch_that_branches_on_a_dynamic_size_is_refused() -> None:
    made = kernel(launch=lambda N: Launch(grid=(1,), args=(8 if N == 128 else N,)))
    assert Problem.of(made, {"M": 4, "N": 128}).argument_multiples(made.default) == (8,)
    with pytest.raises(ConfigError, match="TypeError: a launch cannot branch on a dynamic dimension"):
        Problem.of(made, {"M": 4, "N": Range(64, 128, 256)}).argument_multiples(made.default)


def test_a_count_that_raises_is_named() -> None:
    made = kernel(flops=lambda N: N // 0, bytes=lambda N: N // 0)
    problem = Problem.of(made, {"M": 4, "N": 128})
    with pytest.raises(ConfigError, match="kernel 'test::scale': flops raised ZeroDivisionError"):
        problem.flops()
    with pytest.raises(ConfigError, match="kernel 'test::scale': bytes raised ZeroDivisionError"):
        problem.bytes()


def extents(**changes: Any) -> Kernel:
    declared: dict[str, Any] = {
        "inputs": {"x": Tensor("T", "*M N"), "offsets": Tensor("i32", "B + 1")},
        "outputs": {"y": Tensor("T", "*M cdiv(N, 2)"), "z": Tensor("T", "N - pad B")},
        "attributes": {"THREADS": 64, "pad": 3},
        "params": [],
        "default": {},
        "launch": lambda N, pad, THREADS: Launch((cdiv(N, THREADS),), (N, pad), block=(THREADS,)),
        "reference": lambda x, offsets: x,
    }
    return declare(CudaCpp("void k() {}", entry="k"), **{**declared, **changes})


def test_extents_are_computed_from_sizes_and_attributes() -> None:
    problem = Problem.of(extents(), {"M": (2, 3), "N": Range(5, 9, 20), "B": 4}, attributes={"pad": 2})
    y, z = problem.kernel.outputs.values()
    assert [problem.shape(y, w) for w in WHICH] == [(2, 3, 3), (2, 3, 5), (2, 3, 10)]
    assert [problem.shape(z, w) for w in WHICH] == [(3, 4), (7, 4), (18, 4)]
    assert problem.shape(problem.kernel.inputs["offsets"]) == (5,)
    assert problem.kernel.dims == ("M", "N", "B")


def test_an_extent_of_another_tensor_may_name_what_is_pinned() -> None:
    problem = Problem.of(extents(), {"M": 6, "N": 9, "B": 4})
    partial = Tensor("fp32", "M cdiv(N, TILE) PARTS")
    assert problem.shape(partial, pinned={"TILE": 4, "PARTS": 2}) == (6, 3, 2)


@pytest.mark.parametrize(
    ("dims", "changes", "said"),
    [
        ({"N": 3}, {}, "test::double: extent N - pad of 'z' is 0 at N=3 pad=3; it has to be 1 at least"),
        ({"N": Range(2, 9, 20)}, {}, "extent N - pad of 'z' is -1 at N=2 pad=3"),
        ({"N": 9}, {"outputs": {"y": Tensor("T", "9//(N - 9)")}}, "extent 9//(N - 9) of 'y' is 0 at N=9"),
        (
            {"N": Range(5, 9, 20)},
            {"inputs": {"x": Tensor("T", "M N"), "offsets": Tensor("i32", "30 - N B")}},
            "extent 30 - N of input 'offsets' shrinks as its dimensions grow",
        ),
    ],
)
def test_sizes_that_leave_nothing_or_no_profile_are_refused(
    dims: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        Problem.of(extents(**changes), {"M": 6, "B": 4, **dims})
    assert said in str(raised.value)
