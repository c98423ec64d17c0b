"""One operator with several sources: the space is theirs side by side, and a tactic is compiled by its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from declare import HEAD, MACROS

from tuner import Kernel, Problem, choice
from tuner.backends.model.predict import predict
from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiler
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.errors import ConfigError
from tuner.gate.verifier import Verifier
from tuner.gpu.catalog import find_device
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.search.tactic import Config

pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")

H100 = Target((9, 0))
FILE = (
    HEAD
    + f"""
from tuner import choice
from tuner.frontends import CudaCpp

@triton.jit
def twice(x_ptr, n, y_ptr, BLOCK: tl.constexpr):
    o = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + o, mask=o < n)
    tl.store(y_ptr + o, x + x, mask=o < n)

shape = dict(
    inputs={{"x": Tensor("T", "*N")}},
    outputs={{"y": Tensor("T", "*N")}},
    reference=lambda x: 2 * x,
)
ours = Kernel(
    id="test::twice_triton",
    source=twice,
    dtypes={{"T": ("fp32", "bf16", "i32")}},
    params=[choice("BLOCK", 64, 128), choice("num_warps", 1, 2)],
    default={{"BLOCK": 128, "num_warps": 2}},
    launch=lambda N, BLOCK: Launch((cdiv(N, BLOCK),), (N,)),
    **shape,
)
theirs = Kernel(
    id="test::twice_cuda",
    source=CudaCpp({MACROS!r}, "twice"),
    dtypes={{"T": ("i32", "fp32")}},
    params=[choice("THREADS", 32, 64, 128)],
    default={{"THREADS": 32}},
    launch=lambda N, THREADS: Launch((cdiv(N, THREADS),), (N,), block=(THREADS,)),
    **shape,
)
kernel = alternatives("test::twice", triton=ours, cuda=theirs)
"""
)
TRITON: Config = {"source": "triton", "BLOCK": 64, "num_warps": 2}
CUDA: Config = {"source": "cuda", "THREADS": 64}


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    (tmp_path / "twice.py").write_text(FILE)
    return load_kernel("twice.py:kernel", tmp_path)


@pytest.fixture
def problem(kernel: Kernel) -> Problem:
    return Problem.of(kernel, {"N": 1000})


def test_the_space_is_that_of_each_source_side_by_side(problem: Problem) -> None:
    points = list(problem.space)
    assert len(points) == problem.space.size == 2 * 2 + 3
    assert TRITON in points and CUDA in points
    assert problem.kernel.default == {"source": "triton", "BLOCK": 128, "num_warps": 2}
    assert problem.kernel.dtypes == {"T": ["fp32", "i32"]}


def test_a_tactic_is_compiled_by_its_own_source(kernel: Kernel, problem: Problem) -> None:
    triton, cuda = (compile_tactic(problem, config, H100) for config in (TRITON, CUDA))
    assert triton.compiler.startswith("triton ") and cuda.compiler.startswith("nvrtc ")
    assert (triton.block, cuda.block) == ((64, 1, 1), (64, 1, 1))
    assert problem.launch(TRITON).grid == problem.launch(CUDA).grid == (16, 1, 1)
    own = Problem.of(problem.kernel.alternatives["cuda"], {"N": 1000}, {"T": "fp32"})
    assert compile_key(problem, CUDA, H100) == compile_key(own, {"THREADS": 64}, H100)
    assert predict(find_device("h200"), problem, CUDA, cuda).time_us > 0


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    made = Compiler(H100, store=None, workers=1, timeout_s=120, memory_bytes=4 << 30)
    yield made
    made.close()


def test_workers_compile_and_check_both(problem: Problem, compiler: Compiler) -> None:
    verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        assert all(isinstance(compiler.submit(problem, c).result(), Artifact) for c in (TRITON, CUDA))
        assert verifier.submit(TRITON).result().verified == "verified"
        assert verifier.submit(CUDA).result().verified == "unverified: CUDA C++ runs on a GPU only"
    finally:
        verifier.close()
    assert set(compiler.versions(problem)) - {"cccl"} == {"triton", "nvrtc", "cudart", "ptxas"}


def test_the_hash_follows_each_source(kernel: Kernel, tmp_path: Path) -> None:
    for old, new in (("x + x", "x * 2"), ("x[i] + x[i]", "2 * x[i]")):
        assert old in FILE
        (tmp_path / "edited.py").write_text(FILE.replace(old, new))
        assert kernel_hash(load_kernel("edited.py:kernel", tmp_path)) != kernel_hash(kernel)


def test_scratch_that_each_source_takes_belongs_to_the_hash(tmp_path: Path) -> None:
    code = FILE.replace("n, y_ptr, BLOCK", "n, y_ptr, scratch_ptr, BLOCK").replace(
        '"y": Tensor("T", "*N")', '"y": Tensor("T", "*N"), "scratch": Tensor("i8", "512", scratch=True)'
    )
    code = code[: code.index("theirs = ")] + 'kernel = alternatives("test::twice", triton=ours, also=ours)\n'
    hashes = set()
    for size in ("512", "1024"):
        (tmp_path / f"of_{size}.py").write_text(code.replace("512", size))
        hashes.add(kernel_hash(load_kernel(f"of_{size}.py:kernel", tmp_path)))
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**CUDA, "BLOCK": 64}, "parameter 'BLOCK' does not apply where source='cuda'"),
        ({"source": "triton", "BLOCK": 64}, "parameter 'num_warps' is missing"),
        ({"source": "numba", "THREADS": 64}, "source='numba' is not in the space"),
    ],
)
def test_a_configuration_holds_what_its_source_takes(problem: Problem, config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        problem.space.encode(config)


def test_a_parameter_that_both_have_takes_the_values_of_each(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(FILE.replace("THREADS", "BLOCK").replace("32, 64, 128", "32, 256"))
    problem = Problem.of(load_kernel("shared.py:kernel", tmp_path), {"N": 1000})
    assert problem.kernel.params[1] == choice("BLOCK", 32, 64, 128, 256)
    assert {(c["source"], c["BLOCK"]) for c in problem.space} == {
        ("triton", 64),
        ("triton", 128),
        ("cuda", 32),
        ("cuda", 256),
    }
    violated = problem.space.violated({"source": "cuda", "BLOCK": 64})
    assert violated is not None and str(violated) == "cuda.BLOCK_of_source: this source takes [32, 256]"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("triton=ours, ", "", "alternatives are two kernels at least"),
        (
            "launch=lambda N, THREADS:",
            'attributes={"a": 1}, launch=lambda N, THREADS, a:',
            "'cuda' has other attributes than 'triton'",
        ),
        ('choice("THREADS"', 'choice("source", 1), choice("THREADS"', "'source'"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    (tmp_path / "wrong.py").write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_kernel("wrong.py:kernel", tmp_path)
