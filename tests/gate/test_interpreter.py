"""Real kernels on the interpreter: correct ones pass, and each planted mistake is found.

Kernels run in a process of their own, since the interpreter must be chosen before triton is imported.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

from tuner.errors import UnavailableError
from tuner.gate.inputs import make_inputs, poisoned
from tuner.gate.instances import instances
from tuner.gate.judge import judge
from tuner.kernel.loader import load_kernel
from tuner.kernel.problem import Dims, Problem
from tuner.search.tactic import Config

HEAD = """
import numpy as np
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, Tolerance, cdiv, choice, maximum, powers_of_two

FLOATS = ("fp32", "fp16", "bf16", "fp8e4nv", "fp8e5")
"""

INCREMENT = """
@triton.jit
def increment(x_ptr, n, y_ptr, amount: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, x + amount, mask=mask)


kernel = Kernel(
    id="test::increment",
    source=increment,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": (*FLOATS, "i32", "i8")},
    attributes={"amount": 1},
    params=[powers_of_two("BLOCK", 16, 16384)],
    default={"BLOCK": 64},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(N,)),
    reference=lambda x, amount: x + amount,
    tiles={"N": "BLOCK"},
)
"""

SOFTMAX = """
@triton.jit
def softmax(x_ptr, M, N, y_ptr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, BLOCK)[None, :]
    top = tl.full([ROWS, 1], float("-inf"), tl.float32)
    total = tl.zeros([ROWS, 1], tl.float32)
    for start in range(0, N, BLOCK):
        mask = (rows < M) & (start + columns < N)
        x = tl.load(x_ptr + rows * N + start + columns, mask=mask, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(x, axis=1, keep_dims=True))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), axis=1, keep_dims=True)
        top = higher
    for start in range(0, N, BLOCK):
        mask = (rows < M) & (start + columns < N)
        x = tl.load(x_ptr + rows * N + start + columns, mask=mask).to(tl.float32)
        tl.store(y_ptr + rows * N + start + columns, (tl.exp(x - top) / total).to(y_ptr.dtype.element_ty), mask=mask)


def reference(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


kernel = Kernel(
    id="test::softmax",
    source=softmax,
    inputs={"x": Tensor("T", "*M N")},
    outputs={"y": Tensor("T", "*M N")},
    dtypes={"T": FLOATS},
    params=[powers_of_two("ROWS", 1, 4), powers_of_two("BLOCK", 16, 1024)],
    default={"ROWS": 2, "BLOCK": 64},
    launch=lambda M, ROWS, N: Launch(grid=(cdiv(M, ROWS),), args=(M, N)),
    reference=reference,
    tiles={"M": "ROWS", "N": "BLOCK"},
)
"""

GEMM = """
@triton.jit
def gemm(a_ptr, b_ptr, M, N, K, c_ptr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)[:, None]
    columns = tl.program_id(1) * BN + tl.arange(0, BN)[None, :]
    total = tl.zeros((BM, BN), tl.float32)
    for k in range(0, tl.cdiv(K, BK)):
        across = k * BK + tl.arange(0, BK)[None, :]
        down = k * BK + tl.arange(0, BK)[:, None]
        a = tl.load(a_ptr + rows * K + across, mask=(rows < M) & (across < K), other=0.0)
        b = tl.load(b_ptr + down * N + columns, mask=(down < K) & (columns < N), other=0.0)
        total = tl.dot(a, b, total)
    tl.store(c_ptr + rows * N + columns, total.to(c_ptr.dtype.element_ty), mask=(rows < M) & (columns < N))


kernel = Kernel(
    id="test::gemm",
    source=gemm,
    inputs={"a": Tensor("T", "M K"), "b": Tensor("T", "K N")},
    outputs={"c": Tensor("T", "M N")},
    dtypes={"T": FLOATS},
    params=[choice(name, 16, 32, 64, 128) for name in ("BM", "BN", "BK")],
    default={"BM": 128, "BN": 128, "BK": 64},
    launch=lambda M, N, K, BM, BN: Launch(grid=(cdiv(M, BM), cdiv(N, BN)), args=(M, N, K)),
    reference=lambda a, b: a @ b,
    tolerances={"fp32": Tolerance(rtol=1e-4, atol=1e-4)},
    tiles={"M": "BM", "N": "BN", "K": "BK"},
)
"""

Verdict: TypeAlias = str | None
Check: TypeAlias = Callable[..., Verdict]


def choose_interpreter() -> None:
    os.environ["TRITON_INTERPRET"] = "1"


def verdict(file: Path, dims: Dims, dtype: str, config: Config) -> Verdict:
    """Runs in the other process: what the gate says of a tactic, exceptions with the name of their class."""
    from tuner.gate import interpreter as interpret
    from tuner.gate.memory import AccessError

    problem = Problem.of(load_kernel(str(file), file.parent), dims, {"T": dtype})
    for instance in instances(problem, config):
        inputs, outputs = make_inputs(instance, 0), poisoned(instance)
        before = {name: array.tobytes() for name, array in inputs.items()}
        try:
            interpret.run(instance, config, inputs, outputs, 500_000)
        except (AccessError, interpret.InterpretationError, interpret.KernelRaisedError) as e:
            return f"{type(e).__name__}: {e}"
        assert before == {name: array.tobytes() for name, array in inputs.items()}
        fault = judge(instance, inputs, outputs)
        if fault:
            return fault
    return None


@pytest.fixture(scope="module")
def interpreted() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=choose_interpreter) as pool:
        yield pool


@pytest.fixture
def check(interpreted: ProcessPoolExecutor, tmp_path: Path) -> Check:
    """Check a kernel with one piece of its text replaced by another."""

    def check(text: str, dims: Dims, dtype: str, config: Config, old: str = "", new: str = "") -> Verdict:
        assert old in text
        file = tmp_path / "kernel.py"
        file.write_text(HEAD + (text.replace(old, new) if old else text))
        return interpreted.submit(verdict, file, dims, dtype, config).result(timeout=60)

    return check


SOFTMAX_AT: Dims = {"M": 64, "N": 512}
GEMM_AT: Dims = {"M": 512, "N": 512, "K": 512}
BLOCKS: Config = {"BM": 32, "BN": 16, "BK": 16}

# -- what is right passes ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "i32", "i8"])
@pytest.mark.parametrize("block", [16, 16384])
def test_an_elementwise_kernel_passes(check: Check, dtype: str, block: int) -> None:
    assert check(INCREMENT, {"N": 10**6}, dtype, {"BLOCK": block}) is None


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e5"])
def test_a_kernel_with_reductions_and_a_loop_passes(check: Check, dtype: str) -> None:
    assert check(SOFTMAX, SOFTMAX_AT, dtype, {"ROWS": 4, "BLOCK": 64}) is None


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "fp8e4nv", "fp8e5"])
def test_a_matrix_product_passes(check: Check, dtype: str) -> None:
    assert check(GEMM, GEMM_AT, dtype, BLOCKS) is None


CONDITIONAL = """
from tuner import Param


@triton.jit
def double(x_ptr, n, y_ptr, BLOCK: tl.constexpr, LOOP: tl.constexpr, TIMES: tl.constexpr):
    for i in tl.static_range(TIMES if LOOP else 1):
        offsets = (tl.program_id(0) * TIMES + i) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 2, mask=mask)


kernel = Kernel(
    id="test::double",
    source=double,
    inputs={"x": Tensor("T", "*N")},
    outputs={"y": Tensor("T", "*N")},
    dtypes={"T": FLOATS},
    params=[choice("BLOCK", 16, 64), choice("LOOP", False, True), Param("TIMES", (1, 2, 4), when=("LOOP", (True,)))],
    default={"BLOCK": 64, "LOOP": False},
    launch=lambda N, BLOCK, TIMES: Launch(grid=(cdiv(N, BLOCK * TIMES),), args=(N,)),
    reference=lambda x: 2 * x,
    tiles={"N": "BLOCK"},
)
"""


@pytest.mark.parametrize("config", [{"BLOCK": 64, "LOOP": False}, {"BLOCK": 16, "LOOP": True, "TIMES": 4}])
def test_a_parameter_that_does_not_apply_has_its_first_value_in_the_kernel_and_its_launch(
    check: Check, config: Config
) -> None:
    assert check(CONDITIONAL, {"N": 1000}, "fp32", config) is None


ADD_ROWS = """
@triton.jit
def add_rows(x_ptr, rows, n, y_ptr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for row in range(-1, 4):
        total += tl.load(x_ptr + row * n + offsets, mask=LOAD_MASK, other=0.0).to(tl.float32)
    for row in range(-1, 4):
        tl.store(y_ptr + row * n + offsets, total.to(y_ptr.dtype.element_ty), mask=STORE_MASK)


kernel = Kernel(
    id="test::add_rows",
    source=add_rows,
    inputs={"x": Tensor("T", "3 N")},
    outputs={"y": Tensor("T", "3 N")},
    dtypes={"T": FLOATS},
    params=[choice("BLOCK", 16, 64)],
    default={"BLOCK": 64},
    launch=lambda N, BLOCK: Launch(grid=(cdiv(N, BLOCK),), args=(3, N)),
    reference=lambda x: np.repeat(x.sum(axis=0, keepdims=True), 3, axis=0),
    tiles={"N": "BLOCK"},
)
"""
ROW_MASKS = ("(row >= 0) & (row < 3) & (offsets < n)", "(offsets < n) & (row >= 0) & (row < rows)")
"""On the interpreter the counter is a plain integer. Its comparison with a number is a plain truth value; that with an
argument, spread over a block that came first, holds integers."""


def added_rows(load_mask: str, store_mask: str) -> str:
    return ADD_ROWS.replace("LOAD_MASK", load_mask).replace("STORE_MASK", store_mask)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("mask", ROW_MASKS)
def test_a_mask_that_a_loop_counter_takes_part_in_is_followed(check: Check, mask: str, dtype: str) -> None:
    assert check(added_rows(mask, mask), {"N": 1000}, dtype, {"BLOCK": 16}) is None


@pytest.mark.parametrize("mask", ROW_MASKS)
@pytest.mark.parametrize(
    ("bound", "wider", "element"),
    [("row >= 0", "row >= -1", "element -1 of 3"), ("row < ", "row - 1 < ", "element 3 of 3")],
)
def test_a_row_that_only_the_loop_counter_keeps_out_is_found(
    check: Check, mask: str, bound: str, wider: str, element: str
) -> None:
    wrong = mask.replace(bound, wider)
    read = check(added_rows(wrong, mask), {"N": 1000}, "fp32", {"BLOCK": 16})
    written = check(added_rows(mask, wrong), {"N": 1000}, "fp32", {"BLOCK": 16})
    assert read is not None and f"reads 'x' out of bounds: {element}" in read
    assert written is not None and f"writes 'y' out of bounds: {element}" in written


def test_bfloat16_is_calculated_and_rounded_as_the_hardware_does(check: Check) -> None:
    half_a_unit = 'tolerances={"bf16": Tolerance(rtol=2**-9, atol=0.0)},\n    tiles='
    assert check(INCREMENT, {"N": 100}, "bf16", {"BLOCK": 1024}, "tiles=", half_a_unit) is None


def test_what_a_kernel_prints_is_dropped(check: Check, capfd: pytest.CaptureFixture[str]) -> None:
    printing = 'tl.device_print("x", x)\n    tl.store(y_ptr'
    assert check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "tl.store(y_ptr", printing) is None
    assert capfd.readouterr() == ("", "")


# -- what is wrong is found ----------------------------------------------------------------------


def test_a_store_without_a_mask_is_out_of_bounds(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "x + amount, mask=mask", "x + amount")
    assert found == "AccessError: program (0, 0, 0) writes 'y' out of bounds: element 1 of 1"


def test_a_load_without_a_mask_is_out_of_bounds(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "x_ptr + offsets, mask=mask", "x_ptr + offsets")
    assert found == "AccessError: program (0, 0, 0) reads 'x' out of bounds: element 1 of 1"


def test_an_access_before_the_start_is_out_of_bounds(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp16", {"BLOCK": 64}, "x_ptr + offsets", "x_ptr + offsets - 3")
    assert found == "AccessError: program (0, 0, 0) reads 'x' out of bounds: element -3 of 1"


def test_an_access_far_away_does_not_end_the_process(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "y_ptr + offsets", "y_ptr + offsets + (1 << 30)")
    assert found is not None and found.startswith("AccessError: program (0, 0, 0) writes 'y' out of bounds")


def test_a_store_to_an_input_is_found(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "tl.store(y_ptr", "tl.store(x_ptr")
    assert found == "AccessError: program (0, 0, 0) writes 'x', which is an input"


def test_an_atomic_out_of_bounds_is_found(check: Check) -> None:
    store = "tl.store(y_ptr + offsets, x + amount, mask=mask)"
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, store, "tl.atomic_add(y_ptr + offsets, x)")
    assert found == "AccessError: program (0, 0, 0) writes 'y' out of bounds: element 1 of 1"


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_a_masked_load_that_pads_with_the_wrong_value_is_found(check: Check, dtype: str) -> None:
    found = check(SOFTMAX, SOFTMAX_AT, dtype, {"ROWS": 1, "BLOCK": 64}, ', other=float("-inf")', "")
    assert found is not None and "off by more than the tolerance" in found


def test_a_grid_without_its_last_block_leaves_the_tail_unwritten(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp16", {"BLOCK": 16}, "cdiv(N, BLOCK)", "maximum(N // BLOCK, 1)")
    assert found is not None and found.startswith(
        "y is wrong at N=33 T=fp16: 1 of 33 elements is unwritten, or made of what was there before, the first at (32,)"
    )


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("tl.cdiv(K, BK)", "tl.maximum(K // BK, 1)", "c is wrong at M=16 K=33 N=16"),
        ("(across < K)", "(across < K + BK)", "reads 'a' out of bounds"),
        ("(down < K)", "(down < K + BK)", "reads 'b' out of bounds"),
        ("(rows < M) & (across", "(rows < M + BM) & (across", "reads 'a' out of bounds"),
        ("(rows < M) & (columns", "(rows < M + BM) & (columns", "writes 'c' out of bounds"),
        ("(rows < M) & (columns < N)", "(rows < M) & (columns < N + 1)", "writes 'c' out of bounds"),
    ],
)
def test_a_dimension_that_must_divide_is_found_whichever_it_is(check: Check, old: str, new: str, fault: str) -> None:
    found = check(GEMM, GEMM_AT, "fp16", {"BM": 16, "BN": 16, "BK": 16}, old, new)
    assert found is not None and fault in found


def test_accumulating_in_half_precision_is_found(check: Check) -> None:
    halved = GEMM.replace("tl.zeros((BM, BN), tl.float32)", "tl.zeros((BM, BN), tl.float16)")
    blocks: Config = {"BM": 128, "BN": 128, "BK": 16}
    found = check(halved, GEMM_AT, "fp16", blocks, "tl.dot(a, b, total)", "tl.dot(a, b, total, out_dtype=tl.float16)")
    assert found is not None and "off by more than the tolerance" in found


def test_a_nan_is_found(check: Check) -> None:
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "x + amount, mask", "tl.sqrt(-x * x), mask")
    assert found is not None and found.startswith("y is wrong at N=1 T=fp32: 1 of 1 elements is NaN")


# -- what cannot be interpreted says so ------------------------------------------------------------


def test_inline_assembly_cannot_be_interpreted(check: Check) -> None:
    assembly = 'tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [x], dtype=x.dtype, is_pure=True, pack=1), mask'
    found = check(INCREMENT, {"N": 100}, "fp32", {"BLOCK": 64}, "x + amount, mask", assembly)
    assert found == "InterpretationError: NotImplementedError: inline_asm not supported in interpreter mode"


def test_compiled_kernels_are_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    file = tmp_path / "kernel.py"
    file.write_text(HEAD + INCREMENT)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        future = pool.submit(verdict, file, {"N": 100}, "fp32", {"BLOCK": 64})
        with pytest.raises(UnavailableError, match="TRITON_INTERPRET=1"):
            future.result(timeout=60)
