"""Gluon: declared, compiled, refused, predicted, rehearsed and bundled as Triton is, and judged by a GPU alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tuner import Problem
from tuner.backends.model.predict import predict
from tuner.compile.compiler import Compiler
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.gate.verifier import Verifier
from tuner.gpu.catalog import find_device
from tuner.gpu.target import Target
from tuner.kernel.loader import load_kernel
from tuner.outcome import FailureClass, TacticError
from tuner.qdp.offers import CompilingOffer, legal
from tuner.qdp.plugin import register
from tuner.qdp.rehearsal.kernels import rehearse

H100 = Target((9, 0))

KERNEL = """
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma

from tuner import Kernel, Launch, Tensor, cdiv, choice


@gluon.jit
def twice(x):
    return x * 2


@gluon.jit
def work(x_s, full, y_ptr, M, ROWS: gl.constexpr):
    place: gl.constexpr = gl.BlockedLayout([1, 4], [4, 8], [4, 1], [1, 0])
    mbarrier.wait(full, 0)
    x = x_s.load(place)
    rows = gl.program_id(0) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(1, place))
    columns = gl.arange(0, 32, gl.SliceLayout(0, place))
    inside = gl.expand_dims(rows, 1) < M
    gl.store(y_ptr + gl.expand_dims(rows, 1) * 32 + gl.expand_dims(columns, 0), twice(x), mask=inside)


@gluon.jit
def load(x, x_s, full, ROWS: gl.constexpr):
    mbarrier.expect(full, x.block_type.nbytes)
    tma.async_copy_global_to_shared(x, [gl.program_id(0) * ROWS, 0], full, x_s)


@gluon.jit
def double(x_ptr, M, y_ptr, ROWS: gl.constexpr, LOADER: gl.constexpr):
    place: gl.constexpr = gl.NVMMASharedLayout.get_default_for([ROWS, 32], x_ptr.dtype.element_ty)
    x = tma.make_tensor_descriptor(x_ptr, [M, 32], [32, 1], [ROWS, 32], place)
    x_s = gl.allocate_shared_memory(x_ptr.dtype.element_ty, [ROWS, 32], place)
    full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    mbarrier.init(full, count=1)
    gl.warp_specialize([(work, (x_s, full, y_ptr, M, ROWS)), (load, (x, x_s, full, ROWS))], [LOADER], [24])


kernel = Kernel(
    id="test::double",
    source=double,
    inputs={"x": Tensor("T", "M 32")},
    outputs={"y": Tensor("T", "M 32")},
    dtypes={"T": ("fp16", "fp32")},
    params=[choice("ROWS", 16, 64), choice("LOADER", 4, 8), choice("num_warps", 4)],
    default={"ROWS": 16, "LOADER": 4, "num_warps": 4},
    launch=lambda M, ROWS: Launch(grid=(cdiv(M, ROWS),), args=(M,)),
    reference=lambda x: 2 * x,
    tiles={"M": "ROWS"},
)
"""


SCALE = """
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from tuner import Kernel, Launch, Tensor, cdiv, choice


@gluon.jit
def scale(x_ptr, n: gl.int64, factor, y_ptr, B: gl.constexpr):
    places = gl.program_id(0) * B + gl.arange(0, B, gl.BlockedLayout([1], [32], [4], [0]))
    gl.store(y_ptr + places, gl.load(x_ptr + places, mask=places < n) * factor, mask=places < n)


kernel = Kernel(
    id="test::scale",
    source=scale,
    inputs={"x": Tensor("fp32", "N")},
    outputs={"y": Tensor("fp32", "N")},
    attributes={"factor": 2.5},
    params=[choice("B", 128, 256)],
    default={"B": 128},
    launch=lambda N, B: Launch((cdiv(N, B),), args={"n": N}),
    reference=lambda x, factor: x * factor,
)
"""


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., Problem]:
    def declared(old: str = "", new: str = "") -> Problem:
        assert old in KERNEL
        (tmp_path / "kernel.py").write_text(KERNEL.replace(old, new, 1) if old else KERNEL)
        return Problem.of(load_kernel("kernel.py", tmp_path), {"M": 100})

    return declared


def test_it_compiles_to_what_a_launch_passes_with_the_warps_of_all_tasks(declare: Callable[..., Problem]) -> None:
    problem = declare()
    assert problem.source(problem.kernel.default).language == "Gluon"
    for loader, threads in ((4, 256), (8, 384)):
        artifact = compile_tactic(problem, {**problem.kernel.default, "LOADER": loader}, H100)
        entry = parse(artifact.ptx).entry
        assert [p.type for p in entry.params] == ["u64", "u32", "u64", "u64"]
        assert entry.reqntid == artifact.block == (threads, 1, 1)
        assert "setmaxnreg" in artifact.ptx and "tensormap.replace" in artifact.ptx


def test_what_it_calls_is_part_of_it(declare: Callable[..., Problem]) -> None:
    keys = set()
    for new in ("x * 2", "x + x"):
        problem = declare("x * 2", new)
        keys.add(compile_key(problem, problem.kernel.default, H100))
    assert len(keys) == 2


def test_what_its_compiler_refuses_costs_one_tactic(declare: Callable[..., Problem]) -> None:
    problem = declare("twice(x), mask", "undefined(x), mask")
    with pytest.raises(TacticError, match="undefined") as error:
        compile_tactic(problem, problem.kernel.default, H100)
    assert error.value.kind is FailureClass.COMPILE


def test_it_is_unverified_without_a_gpu_and_says_why(declare: Callable[..., Problem]) -> None:
    problem = declare()
    verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        verdict = verifier.submit(problem.kernel.default).result(timeout=60)
    finally:
        verifier.close()
    assert (verdict.verified, verdict.lasting) == ("unverified: Gluon runs on a GPU only", False)


def test_it_is_predicted_by_one_of_its_tasks(declare: Callable[..., Problem]) -> None:
    problem = declare()
    artifact = compile_tactic(problem, problem.kernel.default, H100)
    timing = predict(find_device("h200"), problem, problem.kernel.default, artifact)
    assert timing.kind == "prediction" and timing.time_us < 10


def test_a_plugin_offers_it(layer: ModuleType, declare: Callable[..., Problem]) -> None:
    problem = declare('"test::double"', '"test::gluon_double"')
    compiler = Compiler(H100, store=None, workers=1, timeout_s=120, memory_bytes=4 << 30)
    try:
        offer = CompilingOffer(legal, compiler)
        register(problem.kernel, offer)
        _, broken = rehearse(problem, offer, H100)
    finally:
        compiler.close()
    assert not broken


def test_a_function_of_another_decorator_is_triton(declare: Callable[..., Problem]) -> None:
    from tuner.frontends.triton_wrappers import is_gluon

    assert is_gluon(declare().kernel.source)
    assert not is_gluon(load_kernel("increment.py", Path(__file__).parents[2] / "kernels").source)
    assert not is_gluon(lambda: None)


def test_floats_and_wide_integers_arrive_as_the_code_says(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(SCALE)
    problem = Problem.of(load_kernel("kernel.py", tmp_path), {"N": 1000})
    artifact = compile_tactic(problem, problem.kernel.default, H100)
    assert [p.type for p in parse(artifact.ptx).entry.params] == ["u64", "u32", "u64"]
    assert "0f40200000" in artifact.ptx  # 2.5
