"""What code becomes that is one launch of several, or takes fewer pointers than TensorRT passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from chained import ONE_POINTER, PEAK, TOTAL, TWO_POINTERS

from tuner import Kernel, Problem, Tensor
from tuner.backends.model.predict import predict, predict_steps
from tuner.compile import ptx
from tuner.compile.artifact import Code
from tuner.compile.compiler import Compiler
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.steps import submit_steps
from tuner.gpu.catalog import find_device
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, TacticError

H100 = Target((9, 0))


def load(folder: Path, text: str, old: str = "", new: str = "", name: str = "kernel") -> Kernel:
    (folder / f"{name}.py").write_text(text.replace(old, new) if old else text)
    return load_kernel(f"{name}.py", folder)


def of(kernel: Kernel) -> Problem:
    return Problem.of(kernel, dict.fromkeys(kernel.dims, 4096))


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (PEAK, [[8, 4, 8], [8, 8, 4, 8]]),  # the second is passed x, for its shape
        (TOTAL, [[8, 4, 4, 8], [8, 8, 4, 4, 8]]),  # both are passed what they have no parameter for
        (ONE_POINTER, [[8, 4, 8]]),
        (TWO_POINTERS, [[8, 4, 8]]),
    ],
)
def test_entries_take_all_that_tensorrt_passes(tmp_path: Path, text: str, sizes: list[list[int]]) -> None:
    kernel = load(tmp_path, text)
    made = [compile_tactic(s.problem, s.config, H100) for s in of(kernel).steps(kernel.default)]
    assert [[p.size for p in ptx.parse(a.ptx).entry.params] for a in made] == sizes


def test_a_pointer_that_code_does_not_take_costs_nothing(tmp_path: Path) -> None:
    one, two = (load(tmp_path, text, name=name) for name, text in (("one", ONE_POINTER), ("two", TWO_POINTERS)))
    a, b = (compile_tactic(of(k), k.default, H100).resources for k in (one, two))
    assert (a.load_widths, a.store_widths) == (b.load_widths, b.store_widths)
    assert a.registers <= b.registers
    assert a.instructions["total"] <= b.instructions["total"]


def test_an_output_in_place_may_be_added_to_and_another_may_not(tmp_path: Path) -> None:
    kernel = load(tmp_path, TOTAL)
    compile_tactic(of(kernel).steps(kernel.default)[1].problem, kernel.default, H100)
    bare = load(tmp_path, TOTAL, ", start=0", "", "bare")
    with pytest.raises(
        TacticError, match=r"only adds to output 'total' .* declare what it starts with, as in Tensor\(…"
    ):
        compile_tactic(of(bare), bare.default, H100)


def test_code_with_and_without_an_unused_input_has_keys_of_its_own(tmp_path: Path) -> None:
    text = TWO_POINTERS.replace('Alias("x")', 'Tensor("T", "*N")')
    more = text.replace('{"x": Tensor("T", "*N")}', '{"x": Tensor("T", "*N"), "s": Tensor("T", "*N", unused=True)}')
    a, b = (load(tmp_path, t, name=n) for n, t in (("a", text), ("b", more)))
    assert b.inputs["s"] == Tensor("T", "*N", unused=True)
    assert compile_key(of(a), a.default, H100) != compile_key(of(b), b.default, H100)


def test_a_tactic_is_the_code_of_all_its_launches_or_the_failure_of_one(tmp_path: Path) -> None:
    device = find_device("h200")
    kernel = load(tmp_path, PEAK)
    broken = load(tmp_path, PEAK, "best = tl.maximum", "best = tl.no_such", "broken")
    compiler = Compiler(device.target, store=None, workers=1, timeout_s=120, memory_bytes=8 << 30)
    try:
        code = submit_steps(compiler, of(kernel), kernel.default).result(timeout=180)
        failure = submit_steps(compiler, of(broken), broken.default).result(timeout=180)
    finally:
        compiler.close()
    assert isinstance(code, Code)
    assert [a.entry for a in code.steps] == ["parts", "whole"]
    assert len({code.digest, *(a.digest for a in code.steps)}) == 3
    assert isinstance(failure, Failure)
    assert failure.message.startswith("step whole: ")
    whole = predict_steps(device, of(kernel), kernel.default, code)
    steps = of(kernel).steps(kernel.default)
    each = [predict(device, s.problem, s.config, a) for s, a in zip(steps, code.steps, strict=True)]
    assert whole.time_us == sum(part.time_us for part in each)
    assert whole.facts["dram_us"] == sum(part.facts["dram_us"] for part in each)


def test_the_code_of_one_launch_has_its_digest(tmp_path: Path) -> None:
    kernel = load(tmp_path, ONE_POINTER)
    artifact = compile_tactic(of(kernel), kernel.default, H100)
    assert Code((artifact,)).digest == artifact.digest
