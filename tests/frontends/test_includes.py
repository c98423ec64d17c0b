"""What NVRTC compiles was read before, from wherever it includes it, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tuner import Kernel, Launch, Problem, Tensor, choice
from tuner.compile.pipeline import compile_tactic
from tuner.errors import ConfigError
from tuner.frontends import CudaCpp
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.outcome import TacticError

pytest.importorskip("cuda.bindings.nvrtc")

CODE = """
extern "C" __global__ void scale(const float* x, int n, float* y) {
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) y[i] = x[i] * FACTOR;
}
"""
TACTIC = {"THREADS": 64}


def declare(source: CudaCpp) -> Kernel:
    return Kernel(
        id="test::scale",
        source=source,
        inputs={"x": Tensor("fp32", "N")},
        outputs={"y": Tensor("fp32", "N")},
        params=[choice("THREADS", 64, 128)],
        default=TACTIC,
        launch=lambda N, THREADS: Launch((N // THREADS,), (N,), block=(THREADS,)),
        reference=lambda x: x,
    )


def ptx(kernel: Kernel) -> str:
    return compile_tactic(Problem.of(kernel, {"N": 1024}), TACTIC, Target((9, 0), (8, 5))).ptx


Flags = Callable[[Path], Sequence[str]]
WAYS: dict[str, Flags] = {
    "-I": lambda f: (f"-I{f}",),
    "-I and a value": lambda f: ("-I", str(f)),
    "-I with a blank": lambda f: (f"-I {f}",),
    "-I=": lambda f: (f"-I={f}",),
    "--include-path": lambda f: ("--include-path", str(f)),
    "--include-path=": lambda f: (f"--include-path={f}",),
    "-include": lambda f: ("-include", f"{f / 'factor.h'}"),
    "--pre-include=": lambda f: (f"--pre-include={f / 'factor.h'}",),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_header_that_a_flag_leads_to_is_part_of_the_source(tmp_path: Path, way: Flags) -> None:
    folder = tmp_path / "headers"
    folder.mkdir()
    (folder / "factor.h").write_text('#pragma once\n#include "five.h"\n#define FACTOR FIVE\n')
    (folder / "five.h").write_text("#define FIVE 5.0f\n")

    def kernel() -> Kernel:
        code = CODE if "include" in way(folder)[0] and "path" not in way(folder)[0] else '#include "factor.h"\n' + CODE
        return declare(CudaCpp(code, "scale", flags=way(folder)))

    before = kernel()
    hash_before = kernel_hash(before)
    (folder / "five.h").write_text("#define FIVE 7.0f\n")
    assert "0f40A00000" in ptx(before)  # what was hashed is compiled
    assert kernel_hash(kernel()) != hash_before
    assert "0f40E00000" in ptx(kernel())


def test_where_the_folders_are_leaves_no_trace(tmp_path: Path) -> None:
    kernels = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "factor.h").write_text("#define FACTOR 5.0f\n")
        kernels.append(declare(CudaCpp("#include <factor.h>\n" + CODE, "scale", flags=(f"-I{tmp_path / name}",))))
    assert kernel_hash(kernels[0]) == kernel_hash(kernels[1])
    assert ptx(kernels[0]) == ptx(kernels[1])


def test_no_header_comes_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "factor.h").write_text("#define FACTOR 5.0f\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TacticError, match=r'identifier "FACTOR" is undefined; there is no factor\.h'):
        ptx(declare(CudaCpp('#include "factor.h"\n' + CODE, "scale")))


def test_a_header_with_a_full_path_is_part_of_the_source(tmp_path: Path) -> None:
    header = tmp_path / "factor.h"
    source = f'#include "{header}"\n{CODE}'
    header.write_text("#define FACTOR 5.0f\n")
    before = declare(CudaCpp(source, "scale"))
    hash_before = kernel_hash(before)
    header.write_text("#define FACTOR 7.0f\n")
    assert "0f40A00000" in ptx(before)
    assert kernel_hash(declare(CudaCpp(source, "scale"))) != hash_before


def test_an_include_that_is_commented_out_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "factor.h").write_text("#error no\n")
    code = '/*\n#include "factor.h"\n*/\n#define FACTOR 5.0f\n' + CODE
    assert "factor.h" not in CudaCpp(code, "scale", flags=(f"-I{tmp_path}",)).text()


def test_an_include_over_two_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "factor.h").write_text("#define FACTOR 5.0f\n")
    kernel = declare(CudaCpp('#include \\\n"factor.h"\n' + CODE, "scale", flags=(f"-I{tmp_path}",)))
    assert "FACTOR 5.0f" in kernel.code.text()
    assert "0f40A00000" in ptx(kernel)


@pytest.mark.parametrize(
    ("code", "flags", "said"),
    [
        ('#define H "/etc/hostname"\n#include H\n', (), "'#include H' does not say which header is meant"),
        ("", ("-I/no/such/folder",), "flags: -I names '/no/such/folder', and there is no such folder"),
        ("", ("-include", "no_such.h"), r"flags: -include names 'no_such\.h', and there is no such file"),
        ("", ("--use-pch=x.pch",), r"flags: --use-pch=x\.pch takes headers from a file that is not read here"),
    ],
)
def test_what_cannot_be_followed_is_refused(code: str, flags: Sequence[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        declare(CudaCpp(f"{code}#define FACTOR 1\n{CODE}", "scale", flags=flags))


def test_the_headers_of_a_toolkit_are_left_to_the_compiler_and_count_as_a_whole(tmp_path: Path) -> None:
    toolkit = tmp_path / "toolkit"
    toolkit.mkdir()
    for name in ("cuda_runtime_api.h", "factor.h"):
        (toolkit / name).write_text("#define FACTOR 5.0f\n")
    kernel = declare(CudaCpp("#include <factor.h>\n" + CODE, "scale", flags=(f"-I{toolkit}",)))
    assert "FACTOR 5.0f" not in kernel.code.text()
    assert "0f40A00000" in ptx(kernel)
    other = tmp_path / "other"
    toolkit.rename(other)
    (other / "factor.h").write_text("#define FACTOR 7.0f\n")
    changed = declare(CudaCpp("#include <factor.h>\n" + CODE, "scale", flags=(f"-I{other}",)))
    assert kernel_hash(changed) != kernel_hash(kernel)
