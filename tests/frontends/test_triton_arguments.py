"""Run-time parameters of Triton: refused where a launch cannot pass them, specialized as Triton's launcher does."""

from __future__ import annotations

from typing import Any

import pytest
import triton
import triton.language as tl

from tuner import Kernel, Launch, Problem, Tensor, cdiv, choice
from tuner.compile.pipeline import compile_tactic
from tuner.errors import ConfigError
from tuner.gpu.target import Target


def plain(x_ptr, n, step, y_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)) * step
    tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


def annotated(annotation: Any) -> Any:
    """The kernel with an annotation of its run-time parameter."""

    def scale(x_ptr, n, y_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)

    scale.__annotations__["n"] = annotation
    return triton.jit(scale)


def declare(source: Any, args: Any = lambda N: (N,), **changes: Any) -> Kernel:
    declared: dict[str, Any] = {
        "id": "test::scale",
        "source": source,
        "inputs": {"x": Tensor("fp32", "N")},
        "outputs": {"y": Tensor("fp32", "N")},
        "params": [choice("BLOCK", 512)],
        "default": {"BLOCK": 512},
        "launch": lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args(N)),
        "reference": lambda x: 2 * x,
    }
    return Kernel(**{**declared, **changes})


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [(tl.int64, "int64"), ("tl.int64", "int64"), ("i64", "int64"), ("u32", "uint32"), (bool, "int1"), (int, "int32")],
)
def test_integers_have_the_type_that_they_are_annotated_with(annotation: Any, kind: str) -> None:
    def scale(x_ptr, n, y_ptr, KIND: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.static_assert(n.dtype == KIND)
        tl.store(y_ptr + at, tl.load(x_ptr + at), mask=at < n)

    scale.__annotations__["n"] = annotation
    kernel = declare(triton.jit(scale), lambda N: (N,), constants=lambda: {"KIND": getattr(tl, kind)})
    compile_tactic(Problem.of(kernel, {"N": 4096}), {"BLOCK": 512}, Target((9, 0)))


@pytest.mark.parametrize("annotation", [tl.float32, "fp32", float, "tl.bfloat16"])
def test_floats_are_refused_with_what_to_do(annotation: Any) -> None:
    with pytest.raises(ConfigError, match=r"run-time parameter 'n' .* passes no floats: declare an attribute"):
        declare(annotated(annotation))


@pytest.mark.parametrize("annotation", [tl.int32, "tl.int32", "i32", int, "the length"])
def test_integers_that_a_launch_passes_are_taken(annotation: Any) -> None:
    declare(annotated(annotation))


def compiled(source: Any, args: Any, size: int) -> Any:
    return compile_tactic(Problem.of(declare(source, args), {"N": size}), {"BLOCK": 512}, Target((9, 0)))


def test_an_argument_that_is_one_is_compiled_in_unless_the_kernel_says_not_to() -> None:
    args = lambda N: (N, 1)  # noqa: E731
    usual = compiled(triton.jit(plain), args, 4096)
    asked = compiled(triton.jit(do_not_specialize=["step"])(plain), args, 4096)
    by_position = compiled(triton.jit(do_not_specialize=[2])(plain), args, 4096)
    assert "unused" in usual.ptx
    assert set(usual.resources.load_widths) == {16}
    for artifact in (asked, by_position):
        assert "unused" not in artifact.ptx
        assert set(artifact.resources.load_widths) == {4}


@pytest.mark.parametrize("option", ["do_not_specialize", "do_not_specialize_on_alignment"])
def test_a_multiple_of_sixteen_is_told_unless_the_kernel_says_not_to(option: str) -> None:
    args = lambda N: (N, 1)  # noqa: E731
    assert set(compiled(triton.jit(plain), args, 4096).resources.load_widths) == {16}
    artifact = compiled(triton.jit(**{option: ["n"]})(plain), args, 4096)
    assert set(artifact.resources.load_widths) == {4}


def test_a_pointer_is_taken_as_unaligned_where_the_kernel_says_so() -> None:
    args = lambda N: (N, 1)  # noqa: E731
    artifact = compiled(triton.jit(do_not_specialize_on_alignment=["x_ptr"])(plain), args, 4096)
    assert set(artifact.resources.load_widths) == {4}
    assert set(artifact.resources.store_widths) == {16}
