"""CUDA C++ becomes PTX that follows the text, its headers and the tactic, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from declare import MACROS, declare, double

from tuner import DType, Launch, Range, choice
from tuner.compile.pipeline import compile_key, compile_tactic, tools
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.frontends import CudaCpp
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.outcome import FailureClass, TacticError

pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")

H100 = Target((9, 0))
TACTIC = {"THREADS": 64}
TEMPLATE = """
template <typename Element, int BLOCK>
__global__ void twice(const Element* x, int n, Element* y) {
    const int i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) y[i] = x[i] + x[i];
}
"""


STATIC = "{ __shared__ T big[60000]; big[i] = x[i]; __syncthreads(); y[i] = big[n - i]; }"


@pytest.mark.parametrize(("dtype", "width"), [("fp32", 4), ("fp16", 2), ("i32", 4)])
@pytest.mark.parametrize(("code", "entry"), [(MACROS, "twice"), (TEMPLATE, "twice<T, THREADS>")])
def test_parameters_and_types_come_as_macros_or_template_arguments(
    code: str, entry: str, dtype: str, width: int
) -> None:
    artifact = compile_tactic(double(CudaCpp(code, entry), dtype), TACTIC, H100)
    assert artifact.block == (64, 1, 1)
    assert [p.size for p in parse(artifact.ptx).entry.params] == [8, 4, 8]
    assert artifact.resources.load_widths == {width: 1}
    assert artifact.target == "sm_90a"
    assert artifact.compiler.startswith("nvrtc ")


@pytest.mark.parametrize("code", [MACROS, TEMPLATE.replace("Element", "float").replace("typename float", "typename E")])
def test_parameters_come_in_any_order(code: str) -> None:
    entry = "twice" if code is MACROS else "twice<T, THREADS>"
    author, element = code.replace("(const T* x, int n, T* y)", "(T* y, int n, const T* __restrict__ x)"), "float"
    author = author.replace(f"(const {element}* x, int n, {element}* y)", f"({element} y[], int n, const {element}* x)")
    assert author != code
    problem = double(CudaCpp(author, entry))
    assert problem.kernel.code.parameters == ("y", "n", "x")
    reordered, usual = compile_tactic(problem, TACTIC, H100), compile_tactic(double(CudaCpp(code, entry)), TACTIC, H100)
    assert [p.name[-1] for p in parse(reordered.ptx).entry.params] == ["2", "1", "0"]
    assert reordered.resources.instructions == usual.resources.instructions


def test_constants_may_follow_and_be_types() -> None:
    code = MACROS.replace("x[i] + x[i]", "T(ACC(x[i]) * WIDE)")
    follows = lambda N: {"WIDE": N // 500, "ACC": DType("fp32")}  # noqa: E731
    named = MACROS.replace("x[i] + x[i]", "T(float(x[i]) * 2)")
    followed = compile_tactic(double(CudaCpp(code, "twice"), "fp16", constants=follows), TACTIC, H100)
    assert followed.ptx == compile_tactic(double(CudaCpp(named, "twice"), "fp16"), TACTIC, H100).ptx


def test_ptx_is_lowered_to_what_the_driver_knows() -> None:
    assert compile_tactic(double(CudaCpp(MACROS, "twice")), TACTIC, Target((8, 0), (7, 5))).ptx_version == (7, 5)


def test_ptx_that_the_driver_is_too_old_for_is_refused() -> None:
    newer = MACROS.replace("x[i] + x[i]", 'x[i]; asm volatile("fence.proxy.async;")')
    problem = double(CudaCpp(newer, "twice"))
    compile_tactic(problem, TACTIC, H100)
    with pytest.raises(TacticError, match=r"lowered to version 7\.5, .* \(a newer driver takes more\)") as error:
        compile_tactic(problem, TACTIC, Target((8, 9), (7, 5)))
    assert error.value.kind == FailureClass.COMPILE


def test_the_block_is_that_of_the_launch_bounds_where_the_launch_has_none() -> None:
    launch = lambda N, THREADS: Launch((N,), (N,))  # noqa: E731
    assert compile_tactic(double(CudaCpp(MACROS, "twice"), launch=launch), TACTIC, H100).block == (64, 1, 1)
    with pytest.raises(TacticError, match=r"neither the launch nor entry .* says how many threads"):
        compile_tactic(double(CudaCpp(TEMPLATE, "twice<T, THREADS>"), launch=launch), TACTIC, H100)


@pytest.mark.parametrize(
    ("code", "changes", "said"),
    [
        (MACROS.replace("int n,", "long long n,"), {}, "parameter 1 is .u64; TensorRT passes a 32-bit integer"),
        (MACROS, {"launch": lambda N, THREADS: Launch((N,), (N,), block=(128,))}, "allows 64"),
        (MACROS.replace("x[i] + x[i]", "oops"), {}, r'kernel.cu\(4\): identifier "oops" is undefined'),
        (MACROS.replace("y[i] = x[i] + x[i]", STATIC), {}, "uses too much shared data"),
        (MACROS + MACROS.replace("twice", "thrice"), {}, "exactly one .entry, found: .*thrice"),
    ],
)
def test_a_tactic_that_cannot_be_launched_is_refused(code: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TacticError, match=said):
        compile_tactic(double(CudaCpp(code, "twice"), **changes), TACTIC, H100)


def test_a_launch_that_passes_more_than_the_code_takes_is_refused() -> None:
    problem = double(CudaCpp(MACROS.replace("int n,", "").replace("< n", "< 8"), "twice"))
    with pytest.raises(ConfigError, match="launch passes 1 extra integers, the source takes none"):
        compile_tactic(problem, TACTIC, H100)


def test_dynamic_shared_memory_is_the_launch_s() -> None:
    code = MACROS.replace("y[i] = x[i] + x[i]", "{ extern __shared__ T s[]; s[i] = x[i]; y[i] = 2 * s[i]; }")

    def launched(size: int) -> Problem:
        launch = lambda N, THREADS: Launch((N,), (N,), block=(THREADS,), shared_bytes=size)  # noqa: E731
        return double(CudaCpp(code, "twice"), launch=launch)

    assert compile_tactic(launched(2048), TACTIC, H100).shared_bytes == 2048
    assert compile_key(launched(2048), TACTIC, H100) != compile_key(launched(4096), TACTIC, H100)
    with pytest.raises(TacticError, match="needs 300000 bytes of shared memory"):
        compile_tactic(launched(300000), TACTIC, H100)
    with pytest.raises(ConfigError, match="say how many bytes a block takes with shared_bytes"):
        compile_tactic(launched(0), TACTIC, H100)


def test_a_dimension_among_the_constants_needs_one_size() -> None:
    code = MACROS.replace("int n", "int").replace("i < n", "i < SIZE")
    kernel = declare(CudaCpp(code.replace("SIZE", "N"), "twice", dims=("N",)))
    fixed, other = (Problem.of(kernel, {"N": n}, {"T": "fp32"}) for n in (1000, 2000))
    assert compile_tactic(fixed, TACTIC, H100).ptx != compile_tactic(other, TACTIC, H100).ptx
    with pytest.raises(ConfigError, match="takes dimension 'N' as a constant, so it needs one size"):
        compile_key(Problem.of(kernel, {"N": Range(1, 10, 20)}, {"T": "fp32"}), TACTIC, H100)


def test_floats_and_truths_are_spelt_as_in_cpp() -> None:
    code = MACROS.replace("x[i] + x[i]", "(DOUBLE ? x[i] * factor : x[i])")
    changes: dict[str, Any] = {
        "attributes": {"factor": 2.0},
        "params": [choice("THREADS", 64), choice("DOUBLE", True, False)],
    }
    default = {"THREADS": 64, "DOUBLE": True}
    problem = double(CudaCpp(code, "twice"), **changes, default=default)
    assert problem.kernel.constant_names == ("THREADS", "DOUBLE", "factor")
    assert "f64" not in compile_tactic(problem, default, H100).ptx
    assert compile_key(problem, default, H100) != compile_key(problem, {**default, "DOUBLE": False}, H100)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "inner.cuh").write_text("#pragma once\n#include <cuda_fp16.h>\n#define FACTOR 2\n")
    (tmp_path / "outer.cuh").write_text('#pragma once\n#include "inner.cuh"\n#include "outer.cuh"\n')
    (tmp_path / "twice.cu").write_text('#include "outer.cuh"\n' + MACROS.replace("x[i] + x[i]", "x[i] * T(FACTOR)"))
    return tmp_path / "twice.cu"


def test_headers_of_the_user_are_found_beside_the_file_and_in_folders(file: Path, tmp_path: Path) -> None:
    beside = compile_tactic(double(CudaCpp(file, "twice")), TACTIC, H100)
    text = file.read_text().replace('"outer.cuh"', "<outer.cuh>")
    included = compile_tactic(double(CudaCpp(text, "twice", include=(tmp_path,))), TACTIC, H100)
    assert beside.ptx == included.ptx
    assert str(tmp_path) not in beside.ptx


@pytest.mark.parametrize(
    ("name", "old", "new", "same"),
    [
        ("twice.cu", "if (i", "// checked\n\n    if (i", True),
        ("twice.cu", "i < n", "i < n - 1", False),
        ("inner.cuh", "#define", "/* new */ #define", True),
        ("inner.cuh", "FACTOR 2", "FACTOR 3", False),
    ],
)
def test_the_hash_follows_the_code_and_its_headers(file: Path, name: str, old: str, new: str, same: bool) -> None:
    before = kernel_hash(declare(CudaCpp(file, "twice")))
    edited = file.with_name(name)
    edited.write_text(edited.read_text().replace(old, new))
    assert (kernel_hash(declare(CudaCpp(file, "twice"))) == before) is same


def test_what_was_read_is_compiled_though_the_file_changed(file: Path) -> None:
    problem = double(CudaCpp(file, "twice"))
    before = compile_tactic(problem, TACTIC, H100).ptx
    file.write_text(file.read_text().replace("i < n", "i < n - 1"))
    assert compile_tactic(problem, TACTIC, H100).ptx == before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda: CudaCpp(Path("missing.cu"), "f"), "missing.cu: there is no such file"),
        (lambda: CudaCpp(MACROS, "twise"), "entry='twise' is not in the code"),
        (lambda: CudaCpp(MACROS, "twice<T"), "names no function"),
        (lambda: declare(CudaCpp(MACROS, "twice"), params=[choice("THREADS", 64), choice("UNROLL", 1)]), "UNROLL"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(source: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        source()


def test_a_file_or_header_that_is_no_text_is_named(file: Path) -> None:
    header = file.with_name("inner.cuh")
    header.write_bytes(b"// caf\xe9\n")
    with pytest.raises(ConfigError, match=r"inner\.cuh is not UTF-8 text .* at byte 6\); save it as UTF-8"):
        CudaCpp(file, "twice")


def test_tools_are_named_with_their_versions() -> None:
    assert set(tools(CudaCpp(MACROS, "twice"), H100)) - {"cccl"} == {"nvrtc", "cudart", "ptxas"}


def test_a_constant_touches_no_other_name_of_the_code() -> None:
    own = "{ const float THREADS = 0.5f; struct { float slope; } s{THREADS}; y[i] = x[i] * T(s.slope + slope); }"
    code = MACROS.replace("y[i] = x[i] + x[i];", own)
    problem = double(CudaCpp(code, "twice"), attributes={"slope": 2.5}, reference=lambda x, slope: 3 * x)
    artifact = compile_tactic(problem, TACTIC, H100)
    assert "0f40400000" in artifact.ptx and "slope" not in artifact.ptx  # 0.5 and 2.5


def test_a_constant_that_the_code_hides_is_refused() -> None:
    code = MACROS.replace("{\n", "{\n    const float slope = 0.5f;\n", 1).replace("x[i] + x[i]", "x[i] * T(slope)")
    problem = double(CudaCpp(code, "twice"), attributes={"slope": 0.25}, reference=lambda x, slope: 2 * x)
    with pytest.raises(TacticError, match="has an attribute, parameter or dimension 'slope', and wherever the code"):
        compile_tactic(problem, TACTIC, H100)


def test_a_condition_of_the_preprocessor_sees_constants_and_an_error_names_them() -> None:
    code = MACROS.replace("{\n", "{\n#if THREADS > 32 && slope_set\n    const float slope_set = 1;\n#endif\n", 1)
    problem = double(CudaCpp(code, "twice"), attributes={"slope_set": 1}, reference=lambda x, slope_set: 2 * x)
    with pytest.raises(TacticError, match=r"kernel\.cu\(4\): .*; 'slope_set' on that line is a macro here"):
        compile_tactic(problem, TACTIC, H100)


def test_an_error_on_another_line_names_no_macro() -> None:
    problem = double(CudaCpp(MACROS.replace("if (i < n)", "if (i < missing)"), "twice"))
    with pytest.raises(TacticError, match="missing") as error:
        compile_tactic(problem, TACTIC, H100)
    assert "macro" not in str(error.value)
