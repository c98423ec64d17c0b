"""CuTe DSL functions become PTX of pointers and integers, with the block they are launched with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuner import Kernel, Problem
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.frontends import CuteDsl
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.outcome import TacticError

pytest.importorskip("cutlass.cute", reason="nvidia-cutlass-dsl is not installed")

H100 = Target((9, 0))
TACTIC = {"THREADS": 64}
FILE = """
import cutlass
from cutlass import cute
from declare import declare

from tuner import Launch, cdiv
from tuner.frontends import CuteDsl


@cute.kernel
def twice(x: cute.Pointer, n: cutlass.Int32, y: cute.Pointer, THREADS: cutlass.Constexpr):
    thread, _, _ = cute.arch.thread_idx()
    block, _, _ = cute.arch.block_idx()
    i = block * THREADS + thread
    x = cute.make_tensor(x, n)
    y = cute.make_tensor(y, n)
    if i < n:
        y[i] = x[i] + x[i]


@cute.jit
def launch(x: cute.Pointer, n: cutlass.Int32, y: cute.Pointer, THREADS: cutlass.Constexpr):
    twice(x, n, y, THREADS).launch(grid=(1, 1, 1), block=(THREADS, 1, 1))


kernel = declare(CuteDsl(launch), launch=lambda N, THREADS: Launch((cdiv(N, THREADS),), (N,)))
"""


def load(folder: Path, old: str = "", new: str = "") -> Kernel:
    assert old in FILE
    folder.mkdir(exist_ok=True)
    (folder / "twice.py").write_text(FILE.replace(old, new))
    return load_kernel("twice.py", folder)


def problem(kernel: Kernel, dtype: str = "fp32") -> Problem:
    return Problem.of(kernel, {"N": 1000}, {"T": dtype})


@pytest.mark.parametrize(("dtype", "width"), [("fp32", 4), ("fp16", 2), ("i32", 4)])
def test_a_function_becomes_ptx_as_tensorrt_launches_it(tmp_path: Path, dtype: str, width: int) -> None:
    artifact = compile_tactic(problem(load(tmp_path), dtype), TACTIC, H100)
    assert (artifact.block, artifact.shared_bytes, artifact.target) == ((64, 1, 1), 0, "sm_90a")
    assert [p.size for p in parse(artifact.ptx).entry.params] == [8, 4, 8]
    assert artifact.resources.load_widths == {width: 1}
    assert artifact.compiler.startswith("nvidia-cutlass-dsl ")


def test_the_device_is_the_target_s(tmp_path: Path) -> None:
    artifact = compile_tactic(problem(load(tmp_path)), TACTIC, Target((8, 0), (8, 0)))
    assert (artifact.target, artifact.ptx_version) == ("sm_80", (8, 0))


def test_nothing_is_left_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = load(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    compile_tactic(problem(kernel), TACTIC, H100)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [("    i = block", "    # a comment\n    i = block", True), ("x[i] + x[i]", "x[i] * x[i]", False)],
)
def test_the_hash_follows_the_kernel_behind_the_host_function(tmp_path: Path, old: str, new: str, same: bool) -> None:
    before, after = (load(tmp_path / name, *edit) for name, edit in (("before", ()), ("after", (old, new))))
    compile_tactic(problem(before), TACTIC, H100)  # which replaces the code of the functions
    assert (kernel_hash(before) == kernel_hash(after)) is same
    assert (compile_key(problem(before), TACTIC, H100) == compile_key(problem(after), TACTIC, H100)) is same


def test_ptx_does_not_depend_on_the_place_of_the_file_nor_on_what_was_compiled_before(tmp_path: Path) -> None:
    first, second = (compile_tactic(problem(load(tmp_path / name)), TACTIC, H100) for name in ("first", "second"))
    assert first.ptx == second.ptx


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x[i] + x[i]", "oops", "oops"),
        ("y[i] = x[i] + x[i]", "y[i] = x[i] + cutlass.Float32(0) * (1 + '')", "str"),
        ("block=(THREADS, 1, 1)", "block=(2 * THREADS, 32, 1)", "4096 threads per block"),
    ],
)
def test_a_tactic_that_cannot_be_launched_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(TacticError, match=said):
        compile_tactic(problem(load(tmp_path, old, new)), TACTIC, H100)


def test_a_tensor_made_by_the_host_function_is_refused(tmp_path: Path) -> None:
    text = FILE.replace("    x = cute.make_tensor(x, n)\n", "").replace("twice(x: cute.Pointer", "twice(x: cute.Tensor")
    (tmp_path / "twice.py").write_text(text.replace("    twice(x,", "    twice(cute.make_tensor(x, n),"))
    with pytest.raises(TacticError, match=r"parameter 0 is .*; TensorRT passes a 64-bit pointer"):
        compile_tactic(problem(load_kernel("twice.py", tmp_path)), TACTIC, H100)


def test_a_source_that_is_no_function_is_refused() -> None:
    value: Any = 3
    with pytest.raises(ConfigError, match=r"CuteDsl takes a function under @cute\.jit, not 3"):
        CuteDsl(value)
