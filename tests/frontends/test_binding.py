"""Tensors and scalars are told apart by name, whatever their order, and the code costs nothing more for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import triton
import triton.language as tl

from tuner import Kernel, Launch, Problem, Tensor, cdiv, choice
from tuner.compile import ptx
from tuner.compile.artifact import Artifact
from tuner.compile.assembler import Assembler, assemble, ptxas
from tuner.compile.pipeline import compile_tactic
from tuner.errors import ConfigError
from tuner.frontends.binding import Declared, Order, arrange
from tuner.gpu.target import Target

H100 = Target((9, 0))
TACTIC = {"BLOCK": 512}


@triton.jit  # type: ignore[untyped-decorator]
def turned(y_ptr, step, w, N, ptr_x, BLOCK: tl.constexpr, scale):  # type: ignore[no-untyped-def]
    at = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)) * step
    tl.store(y_ptr + at, tl.load(ptr_x + at, mask=at < N) * scale + tl.load(w + at, mask=at < N), mask=at < N)


def declare(**changes: Any) -> Kernel:
    declared: dict[str, Any] = {
        "id": "test::turned",
        "source": turned,
        "inputs": {"x": Tensor("fp32", "N"), "w": Tensor("fp32", "N")},
        "outputs": {"y": Tensor("fp32", "N")},
        "params": [choice("BLOCK", 512)],
        "default": TACTIC,
        "launch": lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args={"N": N, "scale": 3, "step": 7}),
        "reference": lambda x, w: 3 * x + w,
    }
    return Kernel(**{**declared, **changes})


def compiled(**changes: Any) -> Artifact:
    return compile_tactic(Problem.of(declare(**changes), {"N": 4000}), TACTIC, H100)


def machine_code(cubin: bytes, folder: Path) -> str:
    """The instructions, without the offsets of the parameters that they read."""
    tool = ptxas(H100).disassembler
    (folder / "kernel.cubin").write_bytes(cubin)
    sass = subprocess.run([str(tool), "-c", str(folder / "kernel.cubin")], capture_output=True, text=True, check=True)
    return re.sub(r"c\[0x0\]\[0x\w+\]", "parameter", sass.stdout)


@triton.jit  # type: ignore[untyped-decorator]
def squash(dst, pitch, src, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    for begin in range(0, pitch, BLOCK):
        at = begin + tl.arange(0, BLOCK)
        value = tl.load(src + tl.program_id(0) * pitch + at, mask=at < pitch, other=0.0)
        tl.store(dst + tl.program_id(0) * pitch + at, value / (1.0 + tl.abs(value)), mask=at < pitch)


def test_reordering_changes_no_instruction_but_for_the_parameters_places(tmp_path: Path) -> None:
    # With integers that come to stand beside each other, ptxas may even load two at once.
    kernel = declare(
        source=squash,
        inputs={"src": Tensor("fp32", "M N")},
        outputs={"dst": Tensor("fp32", "M N")},
        launch=lambda M, N: Launch((M,), (N,)),
        reference=lambda src: src,
    )
    problem = Problem.of(kernel, {"M": 64, "N": 4000})
    emitted = problem.kernel.code.emit(problem.specialize(TACTIC, H100.capability, (8, 7)))
    author = ptx.parse(emitted.text)
    author = ptx.drop_trailing_params(author, 2)
    module = ptx.lower_version(author, ptxas(H100).newest_ptx)
    cubin, _ = assemble(module, Assembler(ptxas(H100).path, ("-v", *emitted.ptxas), None))
    launched = compile_tactic(problem, TACTIC, H100)
    assert [p.name[-1] for p in ptx.parse(launched.ptx).entry.params] != [p.name[-1] for p in author.entry.params]
    assert machine_code(cubin, tmp_path) == machine_code(launched.cubin, tmp_path)


def test_a_launch_by_name_is_a_launch_in_the_order_of_the_code() -> None:
    in_order = compiled(launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args=(7, N, 3)))
    assert in_order.ptx == compiled().ptx
    problem = Problem.of(declare(), {"N": 4000})
    assert (problem.kernel.code.arguments, problem.launch(TACTIC).args) == (
        ("ptr_x", "w", "step", "N", "scale", "y_ptr"),
        (7, 4000, 3),
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"N": 1, "scale": 3}, "launch does not pass 'step', which the source takes"),
        ({"N": 1, "scale": 3, "step": 1, "stride": 1}, "launch passes 'stride', which the source does not take"),
        ((1, 2), r"launch passes 2 extra integers, the source takes 3 \(step, N, scale\)"),
        ({"N": 1, "scale": 0.5, "step": 1}, "launch passes 0.5; .* declare an attribute"),
    ],
)
def test_what_a_launch_does_not_pass_is_named(args: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Problem.of(declare(launch=lambda N, BLOCK: Launch((N,), args)), {"N": 64}).launch(TACTIC)


def test_an_attribute_that_names_a_parameter_needs_not_be_passed() -> None:
    launch = lambda N, BLOCK: Launch((cdiv(N, BLOCK),), args={"N": N, "step": 7})  # noqa: E731
    listed = lambda N, BLOCK, scale: Launch((cdiv(N, BLOCK),), (7, N, scale))  # noqa: E731
    reference = lambda x, w, scale: scale * x + w  # noqa: E731
    short = declare(launch=launch, reference=reference, attributes={"scale": 0.5})
    long = declare(launch=listed, reference=reference, attributes={"scale": 0.5})
    assert short.code.arguments == long.code.arguments == ("ptr_x", "w", "step", "N", "y_ptr")
    other = Problem.of(long, {"N": 64}, attributes={"scale": 2.0})
    assert other.launch(TACTIC).args == (7, 64)
    passed = declare(launch=listed, reference=reference, attributes={"scale": 2})
    assert passed.code.arguments is not None and "scale" in passed.code.arguments


@pytest.mark.parametrize(
    ("parameters", "inputs", "outputs", "found"),
    [
        ("x_ptr y_ptr n", "x", "y", Order(("x_ptr",), ("n",), ("y_ptr",), ("n",))),
        ("out n src", "src", "out", Order(("src",), ("n",), ("out",), ("n",))),
        ("a n b", "x", "y", Order(("a",), ("n",), ("b",), ("n",))),
        ("x_pointer ptr_y", "x", "y", Order(("x_pointer",), (), ("ptr_y",), ())),
        ("x_ptr n b", "x", "y", Order(("x_ptr",), ("n",), ("b",), ("n",))),
    ],
)
def test_tensors_are_told_by_name_or_else_by_place(parameters: str, inputs: str, outputs: str, found: Order) -> None:
    assert arrange(parameters.split(), Declared(tuple(inputs.split()), tuple(outputs.split()))) == found


@pytest.mark.parametrize("parameters", ["n x_ptr b", "b x n", "n"])
def test_names_and_places_that_contradict_each_other_are_shown(parameters: str) -> None:
    with pytest.raises(ConfigError, match=r"which takes which tensor: 'x' by .*, 'y' by none; left are .*Name each"):
        arrange(parameters.split(), Declared(("x",), ("y",)))
