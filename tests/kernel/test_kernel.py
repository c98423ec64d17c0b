"""A declaration that does not fit together is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest
import triton
import triton.language as tl

from tuner import Constraint, DType, Kernel, Launch, Problem, Tensor, Tolerance, cdiv, choice, minimum
from tuner.errors import ConfigError


@triton.jit  # type: ignore[untyped-decorator]
def scale(x_ptr, n, y_ptr, factor: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=i < n) * factor, mask=i < n)


AUTOTUNED = triton.autotune([triton.Config({"BLOCK": 64})], key=["n"])(scale)

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
        ({"source": 3}, "source must be a function under @triton.jit, or one of tuner.frontends, not 3"),
        ({"source": AUTOTUNED}, "declare it with Kernel.from_autotune"),
        ({"inputs": {}}, "at least one input and one output"),
        ({"inputs": {"x": Tensor("T", "*M N", positions="N")}}, "tensor 'x': positions are integers, not T"),
        ({"inputs": {"x": Tensor("i32", "*M N", positions="V")}}, "positions='V' is not a dimension of the inputs"),
        ({"outputs": {}}, "at least one input and one output"),
        ({"inputs": {"y": Tensor("T", "*M N")}}, "'y' is declared twice, as tensor and as tensor"),
        ({"inputs": {"x": Tensor("U", "*M N")}}, "tensor 'x': unknown dtype 'U'"),
        ({"outputs": {"y": Tensor("T", "*M K")}}, "output 'y': 'K' is neither a dimension of an input nor an"),
        ({"dtypes": {"T": ("float16",)}}, "dtype variable 'T': 'float16' is unknown"),
        ({"dtypes": {"T": ()}}, "dtype variable 'T' stands for no data type"),
        ({"tolerances": {"float16": Tolerance(1, 1)}}, "tolerances: unknown dtype 'float16'; there is bf16, fp16"),
        ({"attributes": {"factor": [2]}}, r"attribute 'factor' must be an int, a float, a bool, a word .* not \[2\]"),
        ({"attributes": {"factor": DType("fp31")}}, "attribute 'factor': unknown dtype 'fp31'"),
        ({"attributes": {"factor": DType("T", "fp16")}}, "attribute 'factor': unknown dtype 'T'"),
        ({"absent": ["bias_ptr"]}, "absent names 'bias_ptr', which is no parameter"),
        ({"constants": lambda Q: {}}, "constants names 'Q', which is not declared"),
        ({"dtypes": {"T": ("fp16",), "U": ("fp16",)}}, "dtype variable 'U' is used by no tensor"),
        ({"attributes": {"factor": 2, "N": 1.0}}, "attribute 'N' stands in its shape, so it must be an int"),
        ({"outputs": {"y": Tensor("T", "*M cdiv(N, BLOCK)")}}, "output 'y': 'BLOCK' is tuned"),
        ({"inputs": {"x": Tensor("T", "*M cdiv(N, 2)")}}, "dimension 'N' does not follow from the inputs: cdiv"),
        ({"inputs": {"x": Tensor("T", "M + N")}}, "dimension 'M' does not follow from the inputs"),
        ({"attributes": {"factor": 2, "stream": 1}}, "TensorRT does not allow an attribute called 'stream'"),
        ({"attributes": {}}, "constant 'factor' of the source is neither a parameter, an attribute nor a dimension"),
        (
            {"params": [choice("BLOK", 64), choice("num_warps", 1)]},
            "constant 'BLOCK' of the source.*did you mean 'BLOK'",
        ),
        (
            {"params": [*GOOD["params"], choice("waves", 1)]},
            "'waves' is neither a constant of the source, nor a launch option, nor named by the launch",
        ),
        ({"default": {"BLOCK": 64}}, "parameter 'num_warps' is missing"),
        ({"default": {"BLOCK": 63, "num_warps": 1}}, "BLOCK=63 is not in the space"),
        ({"params": [*GOOD["params"], choice("BLOCK", 32)]}, "the space declares a parameter twice: BLOCK, num_warps"),
        ({"default": {"BLOK": 64, "num_warps": 1}}, "unknown parameter 'BLOK'; did you mean 'BLOCK'?"),
        ({"launch": 3}, "3 does not say what it takes"),
        ({"launch": lambda K: Launch((K,))}, "launch names 'K', which is not declared"),
        ({"launch": lambda *sizes: Launch((1,))}, "name each value it needs instead"),
        ({"reference": lambda y: y}, "reference names 'y', which is not declared"),
        ({"flops": lambda BLOCK: 0}, "flops names 'BLOCK', which is not declared"),
        ({"bytes": lambda Q: 0}, "bytes names 'Q', which is not declared"),
        ({"constraints": [Constraint("c", lambda Z: True, "w")]}, "constraint 'c' names 'Z'"),
        ({"tiles": {"N": "BLOK"}}, "tiles maps 'N' to 'BLOK'"),
        ({"tiles": {"K": "BLOCK"}}, "tiles maps 'K' to 'BLOCK'"),
        ({"whole_tiles": {"K": "BLOCK"}}, "whole_tiles: 'K' is no dimension; there is M, N"),
        (
            {"whole_tiles": {"N": "2*BLOK"}},
            "whole_tiles of 'N': 'BLOK' is neither a parameter nor an attribute of type int",
        ),
        ({"whole_tiles": {"N": "BLOCK %"}}, "whole_tiles of 'N': 'BLOCK %': '%' is no part of one"),
        (
            {"inputs": {"x": Tensor("T", "*M N"), "w": Tensor("T", "N"), "v": Tensor("T", "N")}},
            "which takes which tensor: 'x' by x_ptr, 'w' by none",
        ),
    ],
)
def test_a_mistake_in_a_declaration_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        kernel(**changes)
    assert str(caught.value).startswith(f"kernel '{changes.get('id', 'test::scale')}': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["trt", "tensorrt", "std"])
def test_a_namespace_of_tensorrt_is_reserved(name: str) -> None:
    with pytest.raises(ConfigError, match="TensorRT reserves the namespaces trt, tensorrt, std"):
        kernel(id=f"{name}::scale")


@pytest.mark.parametrize("name", ["outputs", "stream", "tactic"])
def test_an_attribute_that_tensorrt_passes_itself_is_reserved(name: str) -> None:
    with pytest.raises(ConfigError, match=f"TensorRT does not allow an attribute called '{name}'"):
        kernel(attributes={"factor": 2, name: 1})


@pytest.mark.parametrize("name", ["outputs", "stream", "tactic", "in", "x y"])
def test_an_input_that_no_plugin_can_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"TensorRT does not allow an input called '{name}'"):
        kernel(inputs={name: Tensor("T", "*M N")}, reference=lambda: 0)


@pytest.mark.parametrize(
    ("grid", "args", "said"),
    [
        (64, (), r"grid=64 in a Launch is not a tuple of integers, such as \(cdiv\(N, 64\),\)"),
        ((64 / 2,), (), r"grid=\(32.0,\) in a Launch is not a tuple of integers"),
        ((1,), 7, "args=7 in a Launch is not a tuple of integers"),
        ((), (), "a Launch has a grid of 1 to 3 entries, not 0"),
        ((1, 1, 1, 1), (), "a Launch has a grid of 1 to 3 entries, not 4"),
    ],
)
def test_a_launch_that_is_no_tuple_of_integers_is_refused(grid: Any, args: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Launch(grid, args)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("M *N", "only the first dimension may be a *name; for a product write 'M*N'"),
        ("*N+1", "what follows a leading * is a name"),
        ("*", "what follows a leading * is a name"),
        ("M 0", "an extent is at least 1"),
        ("M -", "expected a name, a number or a parenthesis, not the end"),
        ("M / 2", "'/' is no part of one"),
        ("ceil(M, 2)", "'ceil' is no function; there is cdiv, max, min"),
    ],
)
def test_a_shape_that_cannot_be_read_is_refused(shape: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Tensor("fp32", shape)
    assert str(raised.value).startswith(f"shape {shape!r}: ") and said in str(raised.value)


def test_what_a_declaration_says_of_itself() -> None:
    made = kernel(tolerances={"fp16": Tolerance(1, 2)})
    assert made.code.arguments == ("x_ptr", "n", "y_ptr")
    assert made.constant_names == ("factor", "BLOCK")
    assert made.dims == ("M", "N")
    assert made.variadic_dims == ("M",)
    assert made.name == "scale"
    problem = Problem.of(made, {"M": 2, "N": 3})
    assert problem.tolerance("fp16") == Tolerance(1, 2)
    assert problem.tolerance("fp32").rtol == 4 * 2**-23


def test_a_tolerance_may_grow_with_the_dimensions() -> None:
    made = kernel(tolerances={"fp32": lambda N, factor: Tolerance(factor, N)})
    assert Problem.of(made, {"M": 2, "N": 3}).tolerance("fp32") == Tolerance(2, 3)
    with pytest.raises(ConfigError, match="tolerance of fp32 names 'K', which is not declared"):
        kernel(tolerances={"fp32": lambda K: Tolerance(K, 0)})


def test_a_parameter_may_be_one_of_the_launch_alone() -> None:
    launch = lambda M, N, BLOCK, programs: Launch((minimum(programs, cdiv(M * N, BLOCK)),), (M * N,))  # noqa: E731
    changed = {"params": [*GOOD["params"], choice("programs", 4, 8)], "default": {**GOOD["default"], "programs": 4}}
    problem = Problem.of(kernel(launch=launch, **changed), {"M": 100, "N": 3})
    assert problem.launch({"BLOCK": 64, "num_warps": 1, "programs": 4}).grid == (4, 1, 1)


def test_a_dimension_may_stand_for_one_size_in_several_tensors_and_a_number_for_itself() -> None:
    made = kernel(inputs={"x": Tensor("T", "*M N")}, outputs={"y": Tensor("fp32", "*M 3 N")})
    problem = Problem.of(made, {"M": (2, 5), "N": 128})
    assert made.dims == ("M", "N")
    assert problem.shape(made.outputs["y"]) == (2, 5, 3, 128)
    assert problem.dtype(made.outputs["y"]) == "fp32"


def test_constants_are_told_apart_when_annotations_are_text() -> None:
    assert scale.fn.__annotations__["BLOCK"] == "tl.constexpr"  # as `from __future__ import annotations` leaves them
    assert kernel().constant_names == ("factor", "BLOCK")
