"""A declaration that does not fit together is refused where it is written."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import triton
import triton.language as tl

from tuner import Constraint, Kernel, Launch, Problem, Range, Tensor, Tolerance, cdiv, choice
from tuner.errors import ConfigError


@triton.jit  # type: ignore[untyped-decorator]
def scale(x_ptr, n, y_ptr, factor: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) * factor, mask=i < n)


GOOD: dict[str, Any] = {
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


def kernel(**changes: Any) -> Kernel:
    return Kernel(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "scale"}, "the id must read 'namespace::name'"),
        ({"id": "a.b::scale"}, "the id must read 'namespace::name'"),
        ({"id": "trt::scale"}, "TensorRT reserves the namespaces"),
        ({"source": 3}, "source must be a function under @triton.jit alone"),
        ({"inputs": {}}, "at least one input and one output"),
        ({"inputs": {"x": Tensor("U", "*M N")}}, "tensor 'x': unknown dtype 'U'"),
        ({"outputs": {"y": Tensor("T", "*M K")}}, "output 'y': dimension 'K' is in no input"),
        ({"dtypes": {"T": ("float16",)}}, "dtype variable 'T': 'float16' is unknown"),
        ({"dtypes": {"T": ("fp16",), "U": ("fp16",)}}, "dtype variable 'U' is used by no tensor"),
        ({"attributes": {"factor": 2, "N": 1}}, "'N' is declared twice, as dimension and as attribute"),
        ({"attributes": {"factor": 2, "stream": 1}}, "TensorRT does not allow an attribute called 'stream'"),
        ({"attributes": {}}, "constant 'factor' of the source is neither a parameter, an attribute nor a dimension"),
        (
            {"params": [choice("BLOK", 64), choice("num_warps", 1)]},
            "constant 'BLOCK' of the source.*did you mean 'BLOK'",
        ),
        ({"params": [*GOOD["params"], choice("waves", 1)]}, "parameter 'waves' is neither a tl.constexpr"),
        ({"default": {"BLOCK": 64}}, "parameter 'num_warps' is missing"),
        ({"default": {"BLOCK": 63, "num_warps": 1}}, "BLOCK=63 is not in the space"),
        ({"launch": lambda K: Launch((K,))}, "launch names 'K', which is not declared"),
        ({"launch": lambda *sizes: Launch((1,))}, "name each value it needs instead"),
        ({"reference": lambda y: y}, "reference names 'y', which is not declared"),
        ({"flops": lambda BLOCK: 0}, "flops names 'BLOCK', which is not declared"),
        ({"bytes": lambda Q: 0}, "bytes names 'Q', which is not declared"),
        ({"constraints": [Constraint("c", lambda Z: True, "w")]}, "constraint 'c' names 'Z'"),
        ({"tiles": {"N": "BLOK"}}, "tiles maps 'N' to 'BLOK'"),
        ({"inputs": {"x": Tensor("T", "*M N"), "w": Tensor("T", "N"), "v": Tensor("T", "N")}}, "there are 4 tensors"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        kernel(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["M *N", "M-N", "0", "*"])
def test_a_shape_that_cannot_be_read_is_refused(shape: str) -> None:
    with pytest.raises(ConfigError, match="is not a name, a number, or a leading"):
        Tensor("fp32", shape)


def test_what_a_declaration_says_of_itself() -> None:
    made = kernel(tolerances={"fp16": Tolerance(1, 2)})
    assert made.arguments == ("x_ptr", "n", "y_ptr")
    assert made.constants == ("factor", "BLOCK")
    assert made.dims == ("M", "N")
    assert made.variadic_dims == ("M",)
    assert made.name == "scale"
    assert made.tolerance("fp16") == Tolerance(1, 2)
    assert made.tolerance("fp32").rtol == 4 * 2**-23


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


def test_only_what_divides_every_size_of_the_range_is_promised() -> None:
    fixed = Problem.of(kernel(), {"M": 3, "N": 128})
    assert fixed.argument_multiples(fixed.kernel.default) == (384,)
    rows = Problem.of(kernel(), {"M": Range(1, 4, 9), "N": 128})
    (promise,) = rows.argument_multiples(rows.kernel.default)
    assert getattr(promise, "factor", None) == 128


def test_a_launch_that_does_not_fit_the_source_is_refused() -> None:
    short = dataclasses.replace(kernel(), launch=lambda M, N, BLOCK: Launch(grid=(cdiv(M * N, BLOCK),)))
    with pytest.raises(ConfigError, match="launch passes 0 extra integers, the source takes 1"):
        Problem.of(short, {"M": 4, "N": 128}).launch(short.default)
    wide = dataclasses.replace(kernel(), launch=lambda N: Launch(grid=(1, 1, 1, 1), args=(N,)))
    with pytest.raises(ConfigError, match="a grid of 1 to 3"):
        Problem.of(wide, {"M": 4, "N": 128}).launch(wide.default)
