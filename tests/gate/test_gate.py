"""What the correctness gate takes for correct, and where it looks."""

from math import prod
from pathlib import Path

import numpy as np
import pytest

from tuner.errors import ConfigError
from tuner.gate.inputs import make_inputs, poisoned
from tuner.gate.instances import MAX_ELEMENTS, device_instances, instances
from tuner.gate.judge import judge
from tuner.kernel.kernel import Kernel
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Dims, Problem, Range, Timed

MATMUL = """
import numpy as np
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Tensor, cdiv, powers_of_two


@triton.jit
def source(a, b, M, c, N: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    tl.store(c, 0.0)


kernel = Kernel(
    id="test::matmul",
    source=source,
    inputs={"a": Tensor("T", "*M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "*M N")},
    dtypes={"T": ("fp32", "fp16", "bf16", "fp8e4nv", "i32", "i1", "u8")},
    params=[powers_of_two("BM", 1, 16384), powers_of_two("BN", 16, 256)],
    constraints=[CONSTRAINTS],
    default={"BM": 16, "BN": 16},
    launch=lambda M, N, BM, BN: Launch(grid=(cdiv(M, BM), cdiv(N, BN)), args=(M,)),
    reference=lambda a, b: REFERENCE,
    tiles={"M": "BM", "N": "BN"},
)
"""


def matmul(folder: Path, reference: str = "a @ b", constraints: str = "") -> Kernel:
    file = folder / "matmul.py"
    file.write_text(MATMUL.replace("REFERENCE", reference).replace("CONSTRAINTS", constraints))
    return load_kernel(str(file), folder)


def problem(kernel: Kernel, dims: Dims, dtype: str = "fp32") -> Problem:
    return Problem.of(kernel, dims, {"T": dtype})


def sizes(found: list[Problem]) -> list[tuple[int, ...]]:
    return [tuple(p.sizes().values()) for p in found]


# -- sizes ---------------------------------------------------------------------------------------


def test_sizes_lie_on_and_beside_the_tiles(tmp_path: Path) -> None:
    dynamic = problem(matmul(tmp_path), {"M": Range(1, 8, 64), "K": Range(1, 8, 64), "N": Range(1, 8, 64)})
    found = sizes(instances(dynamic, {"BM": 64, "BN": 16}))  # (M, K, N); K has no tile
    assert (1, 1, 1) in found
    assert (64, 3, 16) in found and (128, 6, 32) in found
    assert (33, 2, 9) in found and (129, 7, 33) in found
    assert {(129, 3, 16), (64, 7, 16), (64, 3, 33)} <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("tile", [1, 64, 16384])
def test_every_tile_of_a_wide_space_gets_ragged_and_exact_sizes(tmp_path: Path, tile: int) -> None:
    found = instances(problem(matmul(tmp_path), {"M": 8, "K": 8, "N": 8}), {"BM": tile, "BN": 16})
    counts = {p.sizes()["M"] for p in found}
    assert {1, tile, 2 * tile, 2 * tile + 1} <= counts
    assert all(sum(prod(s) for s in shapes(p)) <= MAX_ELEMENTS for p in found)


def shapes(p: Problem) -> list[tuple[int, ...]]:
    return [p.shape(t) for t in (*p.kernel.inputs.values(), *p.kernel.outputs.values())]


def test_a_fixed_dimension_that_is_a_constant_of_the_source_stays_fixed(tmp_path: Path) -> None:
    found = instances(problem(matmul(tmp_path), {"M": 1000, "K": 40, "N": 24}), {"BM": 16, "BN": 16})
    assert {(p.sizes()["K"], p.sizes()["N"]) for p in found} == {(40, 24)}
    assert len({p.sizes()["M"] for p in found}) > 3


def test_a_variadic_dimension_also_comes_with_two_dimensions(tmp_path: Path) -> None:
    found = instances(problem(matmul(tmp_path), {"M": 8, "K": 8, "N": 8}), {"BM": 64, "BN": 16})
    assert {len(p.dims["M"]) for p in found} == {1, 2}


def test_sizes_at_which_the_tactic_is_illegal_are_left_out(tmp_path: Path) -> None:
    rule = 'Constraint("whole", lambda M, BM: M % BM == 0, "it has no mask")'
    found = instances(problem(matmul(tmp_path, constraints=rule), {"M": 64, "K": 8, "N": 8}), {"BM": 64, "BN": 16})
    assert {p.sizes()["M"] for p in found} == {64, 128}  # neither 33 and 129 nor the multiples of 16 after them


def test_where_ragged_sizes_are_illegal_the_next_multiples_of_16_are_taken(tmp_path: Path) -> None:
    rule = 'Constraint("aligned_rows", lambda N: N % 16 == 0, "the hardware takes no others")'
    dims: Dims = {"M": Range(1, 8, 64), "K": Range(1, 8, 64), "N": Range(1, 8, 64)}
    aligned, tactic = problem(matmul(tmp_path, constraints=rule), dims), {"BM": 64, "BN": 16}
    found = sizes(instances(aligned, tactic))  # (M, K, N)
    assert {(16, 16, 16), (48, 16, 16), (64, 16, 48), (144, 16, 48)} <= set(found)
    assert {(64, 3, 16), (129, 3, 16), (64, 7, 16), (128, 6, 32)} <= set(found)  # legal as they are
    assert {n % 16 for _, _, n in found} == {0}
    assert len(found) == len(set(found))
    assert set(sizes(device_instances(aligned, tactic))) == {(64, 64, 64), (1, 64, 64), (64, 1, 64)}


def test_a_constant_of_the_source_stays_fixed_where_the_next_multiples_of_16_are_taken(tmp_path: Path) -> None:
    rule = 'Constraint("aligned", lambda M: M % 8 == 0, "the hardware takes no others")'
    found = instances(problem(matmul(tmp_path, constraints=rule), {"M": 1000, "K": 40, "N": 24}), {"BM": 64, "BN": 16})
    assert {p.sizes()["M"] for p in found} == {16, 48, 64, 128, 144}
    assert {(p.sizes()["K"], p.sizes()["N"]) for p in found} == {(40, 24)}


def test_the_problem_itself_is_taken_where_nothing_smaller_is_legal(tmp_path: Path) -> None:
    rule = 'Constraint("only", lambda M: M == 100, "the layout is fixed")'
    small = problem(matmul(tmp_path, constraints=rule), {"M": 100, "K": 8, "N": 8})
    assert [p.label for p in instances(small, {"BM": 16, "BN": 16})] == [small.label]


def test_there_may_be_no_size_that_is_legal_and_small(tmp_path: Path) -> None:
    rule = 'Constraint("large", lambda M: M >= 2**20, "too little work")'
    large = problem(matmul(tmp_path, constraints=rule), {"M": 2**24, "K": 8, "N": 8})
    assert instances(large, {"BM": 16, "BN": 16}) == []


def test_on_a_device_sizes_stay_within_the_range(tmp_path: Path) -> None:
    dynamic = problem(matmul(tmp_path), {"M": (2, Range(16, 32, 128)), "K": 16, "N": 32})
    found = device_instances(dynamic, {"BM": 16, "BN": 16})
    assert [p.dims["M"][1].opt for p in found] == [16, 33, 71, 127, 32, 128]
    assert {p.dims["M"][0].opt for p in found} == {2}
    fixed = problem(dynamic.kernel, {"M": 64, "K": 16, "N": 32})
    assert [p.label for p in device_instances(fixed, {"BM": 16, "BN": 16})] == [fixed.label]


def test_where_several_dimensions_vary_each_is_small_while_others_are_large(tmp_path: Path) -> None:
    dynamic = problem(matmul(tmp_path), {"M": Range(1, 2, 300), "K": 16, "N": Range(4, 8, 500)})
    found = [(s["M"], s["N"]) for s in (p.sizes() for p in device_instances(dynamic, {"BM": 16, "BN": 16}))]
    assert {(1, 4), (2, 8), (300, 500), (1, 500), (300, 4)} <= set(found)


def test_a_shape_that_is_timed_is_also_checked(tmp_path: Path) -> None:
    dims: Dims = {"M": Range(1, 64, 300), "K": 16, "N": 32}
    timed = Problem.of(matmul(tmp_path), dims, {"T": "fp32"}, timed=[Timed({"M": 48})])
    assert 48 in [p.sizes()["M"] for p in device_instances(timed, {"BM": 16, "BN": 16})]


def test_without_a_device_the_ends_of_a_range_are_checked_where_they_are_small(tmp_path: Path) -> None:
    dims: Dims = {"M": Range(3, 100, 10**6), "K": 16, "N": 32}
    found = [p.sizes()["M"] for p in instances(problem(matmul(tmp_path), dims), {"BM": 16, "BN": 16})]
    assert {3, 100} <= set(found)
    assert 10**6 not in found


# -- inputs and outputs --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e4nv", "i32", "i1", "u8"])
def test_inputs_are_random_but_repeatable(tmp_path: Path, dtype: str) -> None:
    p = problem(matmul(tmp_path), {"M": (4, 8), "K": 32, "N": 32}, dtype)
    inputs, again, other = make_inputs(p, 1), make_inputs(p, 1), make_inputs(p, 2)
    assert inputs["a"].shape == (4, 8, 32) and inputs["b"].shape == (32, 32)
    assert inputs["a"].dtype == poisoned(p)["c"].dtype
    assert all(np.array_equal(inputs[n], again[n]) for n in inputs)
    assert not np.array_equal(inputs["a"], other["a"])
    assert not np.array_equal(inputs["a"].reshape(32, 32), inputs["b"])
    values = inputs["a"].astype(np.float64)
    assert np.abs(values).max() <= 8 and len(np.unique(values)) > 1


def test_instances_have_different_inputs(tmp_path: Path) -> None:
    kernel = matmul(tmp_path)
    one, two = (make_inputs(problem(kernel, {"M": m, "K": 8, "N": 8}), 1) for m in (1, 2))
    assert not np.array_equal(one["b"], two["b"])


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e4nv"])
def test_poison_is_not_a_number(tmp_path: Path, dtype: str) -> None:
    outputs = poisoned(problem(matmul(tmp_path), {"M": 2, "K": 3, "N": 4}, dtype))
    assert outputs["c"].shape == (2, 4)
    assert np.isnan(outputs["c"].astype(np.float64)).all()


# -- judgement -----------------------------------------------------------------------------------


def right_answer(p: Problem) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    inputs, outputs = make_inputs(p, 0), poisoned(p)
    product = inputs["a"].astype(np.float64) @ inputs["b"].astype(np.float64)
    outputs["c"][...] = product.astype(outputs["c"].dtype)
    return inputs, outputs


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e4nv", "i32"])
def test_the_right_answer_passes(tmp_path: Path, dtype: str) -> None:
    p = problem(matmul(tmp_path), {"M": (2, 3), "K": 4, "N": 5}, dtype)
    assert judge(p, *right_answer(p)) is None


@pytest.mark.parametrize(("dtype", "value"), [("fp32", 9.25), ("fp16", np.inf), ("bf16", -9.25), ("i32", 7777)])
def test_a_wrong_element_is_named(tmp_path: Path, dtype: str, value: float) -> None:
    p = problem(matmul(tmp_path), {"M": 6, "K": 4, "N": 5}, dtype)
    inputs, outputs = right_answer(p)
    outputs["c"][3, 2] = value
    verdict = judge(p, inputs, outputs)
    assert verdict is not None and verdict.startswith("c is wrong at M=6 K=4 N=5")
    assert "1 of 30 elements is off by more than the tolerance, the worst at (3, 2)" in verdict
    assert f"{value:g} instead of" in verdict


def test_the_worst_of_several_is_named(tmp_path: Path) -> None:
    p = problem(matmul(tmp_path), {"M": 6, "K": 4, "N": 5})
    inputs, outputs = right_answer(p)
    outputs["c"][0, 0] += 1
    outputs["c"][5, 4] += 1000
    assert "2 of 30 elements are off by more than the tolerance, the worst at (5, 4)" in str(judge(p, inputs, outputs))


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e4nv", "i32"])
def test_elements_never_written_are_told_from_wrong_ones(tmp_path: Path, dtype: str) -> None:
    p = problem(matmul(tmp_path), {"M": 6, "K": 4, "N": 5}, dtype)
    inputs, outputs = right_answer(p)
    outputs["c"][5] = poisoned(p)["c"][5]
    assert "5 of 30 elements are unwritten, or made of what was there before, the first at (5, 0)" in str(
        judge(p, inputs, outputs)
    )


def test_a_computed_nan_is_told_from_poison(tmp_path: Path) -> None:
    p = problem(matmul(tmp_path), {"M": 6, "K": 4, "N": 5})
    inputs, outputs = right_answer(p)
    outputs["c"][1, 1] = np.nan
    assert "1 of 30 elements is NaN, the first at (1, 1)" in str(judge(p, inputs, outputs))


@pytest.mark.parametrize("factor", [np.inf, np.nan, 1e300])
def test_nan_and_infinity_pass_where_the_reference_has_them(tmp_path: Path, factor: float) -> None:
    p = problem(matmul(tmp_path, f"(a @ b) * float('{factor}')"), {"M": 6, "K": 4, "N": 5})
    inputs, outputs = make_inputs(p, 0), poisoned(p)
    product = inputs["a"].astype(np.float64) @ inputs["b"].astype(np.float64)
    with np.errstate(over="ignore"):
        outputs["c"][...] = product * factor
    assert judge(p, inputs, outputs) is None
    outputs["c"][2, 2] = 0.5
    assert "(2, 2): 0.5 instead of" in str(judge(p, inputs, outputs))


def test_poison_never_passes_for_an_expected_nan(tmp_path: Path) -> None:
    p = problem(matmul(tmp_path, "(a @ b) * np.nan"), {"M": 6, "K": 4, "N": 5})
    assert "30 of 30 elements are unwritten, or made of what was there before" in str(
        judge(p, make_inputs(p, 0), poisoned(p))
    )


def test_the_reference_calculates_in_float64(tmp_path: Path) -> None:
    p = problem(
        matmul(tmp_path, "np.full((2, 2), a.dtype.itemsize + b.dtype.itemsize)"), {"M": 2, "K": 2, "N": 2}, "bf16"
    )
    outputs = poisoned(p)
    outputs["c"][...] = 16
    assert judge(p, make_inputs(p, 0), outputs) is None


def test_a_reference_cannot_change_the_inputs(tmp_path: Path) -> None:
    p = problem(matmul(tmp_path, "a.fill(0) or a @ b"), {"M": 2, "K": 2, "N": 2})
    inputs, outputs = make_inputs(p, 0), poisoned(p)
    outputs["c"][...] = 0
    assert judge(p, inputs, outputs) is None
    assert inputs["a"].all()


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("(a @ b).T", r"returned shape \(5, 6\) for 'c', declared \(6, 5\)"),
        ("(a @ b, a)", "returned 2 arrays for 1 outputs"),
        ("b @ a", r"raised ValueError for a \(6, 4\), b \(4, 5\)"),
        ("1.0", r"returned shape \(\)"),
    ],
)
def test_a_reference_that_does_not_fit_the_declaration_is_a_config_error(
    tmp_path: Path, reference: str, what: str
) -> None:
    p = problem(matmul(tmp_path, reference), {"M": 6, "K": 4, "N": 5})
    with pytest.raises(ConfigError, match="kernel 'test::matmul': reference at M=6 K=4 N=5 T=fp32 " + what):
        judge(p, *right_answer(p))


LARGE = """
import numpy as np
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, choice


@triton.jit
def source(x, n, y, B: tl.constexpr):
    tl.store(y, 0)


kernel = Kernel(
    id="test::large",
    source=source,
    inputs={"x": Tensor("T", "N")},
    outputs={"y": Tensor("T", "N")},
    dtypes={"T": ("i64", "i32")},
    params=[choice("B", 16)],
    default={"B": 16},
    launch=lambda N: Launch(grid=(1,), args=(N,)),
    reference=lambda x: REFERENCE,
)
"""


@pytest.mark.parametrize(
    ("dtype", "reference", "value"),
    [
        ("i64", "np.full(4, 2**60 + 1, np.int64)", 2**60 + 1),
        ("i64", "np.full(4, -(2**63), np.int64)", -(2**63)),
        ("i32", "np.full(4, 2**31 - 1, np.int64)", 2**31 - 1),
    ],
)
def test_integers_are_compared_in_all_their_bits(tmp_path: Path, dtype: str, reference: str, value: int) -> None:
    (tmp_path / "large.py").write_text(LARGE.replace("REFERENCE", reference))
    declared = load_kernel("large.py", tmp_path)
    asked = Problem.of(declared, {"N": 4}, {"T": dtype})
    right = np.full(4, value, poisoned(asked)["y"].dtype)
    assert judge(asked, make_inputs(asked, 0), {"y": right}) is None
    wrong = right.copy()
    wrong[2] -= 1 if value > 0 else -1
    fault = judge(asked, make_inputs(asked, 0), {"y": wrong})
    assert fault is not None and f"at (2,): {wrong[2]} instead of {value}" in fault
    opposite = right.copy()
    opposite[1] = np.iinfo(right.dtype).max if value < 0 else np.iinfo(right.dtype).min
    assert judge(asked, make_inputs(asked, 0), {"y": opposite}) is not None
