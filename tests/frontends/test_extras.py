"""What is not installed is said with the command that installs it, and only when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from declare import double

from tuner.compile.pipeline import compile_key
from tuner.errors import UnavailableError
from tuner.frontends import CudaCpp
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel


@pytest.mark.parametrize(("module", "extra"), [("numba", "numba"), ("cutlass", "cute")])
def test_a_missing_package_of_a_kernel_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "kernel.py").write_text(f"import {module}\n")
    with pytest.raises(
        UnavailableError, match=rf"needs {module}, which is missing; pip install 'qdp-tuner\[{extra}\]'"
    ):
        load_kernel("kernel.py", tmp_path)


def test_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.frontends import cuda_cpp

    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    cuda_cpp._nvrtc.cache_clear()
    problem = double(CudaCpp('extern "C" __global__ void f(const T* x, int n, T* y) {}', "f"))
    with pytest.raises(
        UnavailableError, match=r"CUDA C\+\+ kernels need NVRTC .*; pip install 'qdp-tuner\[cuda-cpp\]'"
    ):
        compile_key(problem, {"THREADS": 64}, Target((9, 0)))
    cuda_cpp._nvrtc.cache_clear()


def test_no_language_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, tuner, tuner.cli, tuner.frontends\n"
        "from tuner import alternatives, load_kernel\n"
        "heavy = {'triton', 'numba', 'cutlass', 'cuda'}\n"
        "print(*heavy & set(sys.modules), *(m for m in sys.modules if 'frontends.' in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == [
        f"tuner.frontends.{name}" for name in ("base", "binding", "dtypes", "origins", "words")
    ]
