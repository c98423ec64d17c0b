"""Numba functions become PTX of pointers and integers, with the tactic's values as constants."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from declare import declare, double

from tuner import Problem, choice
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.frontends import Numba
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.outcome import TacticError

cuda = pytest.importorskip("numba.cuda", reason="numba-cuda is not installed")
pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

H100 = Target((9, 0))
TACTIC = {"THREADS": 64, "ITEMS": 2}
PARAMS: dict[str, Any] = {"params": [choice("THREADS", 64), choice("ITEMS", 1, 2)], "default": TACTIC}


def twice(ITEMS: int) -> Callable[..., None]:
    def kernel(x: Any, n: Any, y: Any) -> None:
        first = cuda.grid(1) * ITEMS
        for i in range(ITEMS):
            if first + i < n:
                y[first + i] = x[first + i] + x[first + i]

    return kernel


def backwards(ITEMS: int) -> Callable[..., None]:
    def kernel(y: Any, n: Any, x: Any) -> None:
        first = cuda.grid(1) * ITEMS
        for i in range(ITEMS):
            if first + i < n:
                y[first + i] = x[first + i] + x[first + i]

    return kernel


def test_parameters_come_in_any_order() -> None:
    problem = double(Numba(backwards), **PARAMS)
    assert problem.kernel.code.parameters == ("y", "n", "x")
    usual = compile_tactic(double(Numba(twice), **PARAMS), TACTIC, H100)
    assert compile_tactic(problem, TACTIC, H100).resources.instructions == usual.resources.instructions


def thrice(ITEMS: int) -> Callable[..., None]:
    def kernel(x: Any, n: Any, y: Any) -> None:
        y[0] = 3 * x[ITEMS]

    return kernel


def shared(T: Any) -> Callable[..., None]:
    def kernel(x: Any, n: Any, y: Any) -> None:
        tile = cuda.shared.array(64, T)
        tile[cuda.threadIdx.x] = x[cuda.threadIdx.x]
        cuda.syncthreads()
        y[cuda.threadIdx.x] = tile[63 - cuda.threadIdx.x]

    return kernel


def unresolved(ITEMS: int) -> Callable[..., None]:
    def kernel(x: Any, n: Any, y: Any) -> None:
        y[0] = oops(x[ITEMS])  # type: ignore[name-defined] # noqa: F821

    return kernel


TABLE = np.zeros(2048, np.float32)


@cuda.jit(device=True)  # type: ignore[untyped-decorator]
def act(v: Any) -> Any:
    return v * 5.0


@cuda.jit(device=True, inline="always")  # type: ignore[untyped-decorator]
def act_of_table(v: Any) -> Any:
    return act(v) + cuda.const.array_like(TABLE)[0]


def acting(ITEMS: int) -> Callable[..., None]:
    def kernel(x: Any, n: Any, y: Any) -> None:
        i = cuda.grid(1) * ITEMS
        if i < n:
            y[i] = act_of_table(x[i])

    return kernel


@pytest.mark.parametrize(("dtype", "width"), [("fp32", 4), ("i32", 4)])
def test_a_function_becomes_ptx_as_tensorrt_launches_it(dtype: str, width: int) -> None:
    artifact = compile_tactic(double(Numba(twice), dtype, **PARAMS), TACTIC, H100)
    assert (artifact.entry, artifact.block, artifact.target) == ("twice", (64, 1, 1), "sm_90")
    assert [p.size for p in parse(artifact.ptx).entry.params] == [8, 4, 8]
    assert artifact.resources.load_widths == {width: 2}
    assert {"numba-cuda", "numba", "ptxas"} < {tool.split()[0] for tool in artifact.compiler.split(", ")}


def test_a_dtype_variable_is_numba_s_type() -> None:
    problem = double(Numba(shared), params=[choice("THREADS", 64)])
    assert compile_tactic(problem, {"THREADS": 64}, H100).resources.shared_bytes == 64 * 4


def test_ptx_does_not_depend_on_the_place_of_the_file_nor_on_what_was_compiled_before(tmp_path: Path) -> None:
    here = Path(__file__)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import test_numba as t;"
        "print(t.compile_tactic(t.double(t.Numba(t.twice), **t.PARAMS), t.TACTIC, t.H100).ptx)"
    )
    (tmp_path / here.name).write_text(here.read_text())
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, here.parents[1] / "shared"], capture_output=True, text=True
    )
    compile_tactic(double(Numba(thrice), **PARAMS), TACTIC, H100)
    assert done.stdout.strip() == compile_tactic(double(Numba(twice), **PARAMS), TACTIC, H100).ptx.strip(), done.stderr


def test_the_key_follows_the_code_the_constants_and_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = double(Numba(twice), **PARAMS)
    keys = {
        compile_key(p, config, H100)
        for p, config in [
            (problem, TACTIC),
            (problem, {**TACTIC, "ITEMS": 1}),
            (double(Numba(twice), "i32", **PARAMS), TACTIC),
            (double(Numba(thrice), **PARAMS), TACTIC),
        ]
    }
    assert len(keys) == 4
    monkeypatch.setenv("NUMBA_OPT", "0")  # which is kept from the processes that compile
    assert compile_key(problem, TACTIC, H100) in keys
    assert kernel_hash(problem.kernel) != kernel_hash(declare(Numba(thrice), **PARAMS))


@pytest.mark.parametrize("target", [H100, Target((8, 0))])
def test_device_functions_are_compiled_for_the_target_without_a_gpu(target: Target) -> None:
    problem = double(Numba(acting), "fp32", **PARAMS)
    artifact = compile_tactic(problem, TACTIC, target)
    assert artifact.target == f"sm_{target.capability[0]}{target.capability[1]}"
    assert "0d4014000000000000" in artifact.ptx  # 5.0
    text = problem.kernel.code.text()
    assert "return v * 5.0" in text and "inline" in text


def asking(ITEMS: int) -> Callable[..., None]:
    raise RuntimeError("Error at driver init: \n\nThe driver is missing.\n:")


def test_a_message_that_ends_with_a_colon_goes_on_with_the_reason() -> None:
    with pytest.raises(TacticError, match=r"\AError at driver init: The driver is missing\.\n"):
        compile_tactic(double(Numba(asking), **PARAMS), TACTIC, H100)


def test_what_numba_refuses_is_said_first() -> None:
    with pytest.raises(TacticError, match=r"\A.*oops"):
        compile_tactic(double(Numba(unresolved), **PARAMS), TACTIC, H100)


def test_half_precision_arithmetic_which_numba_leaves_to_a_linker_is_refused() -> None:
    with pytest.raises(TacticError, match="ptxas"):
        compile_tactic(double(Numba(twice), "fp16", **PARAMS), TACTIC, H100)


def test_a_type_without_pointers_is_named() -> None:
    kernel = declare(Numba(twice), **PARAMS, dtypes={"T": ("bf16",)})
    with pytest.raises(ConfigError, match="Numba has no pointers to bf16; use one of fp64, fp32"):
        compile_tactic(Problem.of(kernel, {"N": 8}), TACTIC, H100)
