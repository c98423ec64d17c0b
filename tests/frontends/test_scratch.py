"""Scratch memory: Triton's tensor descriptors lie in an output of the plugin that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tuner import Problem, Range
from tuner.backends.cuda.bench import Evidence
from tuner.backends.cuda.cases import judge, make_case
from tuner.compile.compiler import Compiler
from tuner.compile.pipeline import compile_key, compile_tactic
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.gate.inputs import make_inputs
from tuner.gate.judge import expected
from tuner.gate.verifier import Verifier
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.loader import load_kernel
from tuner.outcome import FailureClass, TacticError
from tuner.qdp.offers import CompilingOffer, legal
from tuner.qdp.plugin import register
from tuner.qdp.rehearsal.kernels import rehearse

H100 = Target((9, 0), disassemble=False)

KERNEL = """
import triton
import triton.language as tl

from tuner import Kernel, Launch, Tensor, cdiv, choice, minimum


@triton.jit
def double(x_ptr, M, y_ptr, scratch_ptr, ROWS: tl.constexpr):
    x = tl.make_tensor_descriptor(x_ptr, [M, 32], [32, 1], [ROWS, 32])
    y = tl.make_tensor_descriptor(y_ptr, [M, 32], [32, 1], [ROWS, 32])
    for block in range(tl.program_id(0), tl.cdiv(M, ROWS), tl.num_programs(0)):
        y.store([block * ROWS, 0], x.load([block * ROWS, 0]) * 2)


kernel = Kernel(
    id="test::double",
    source=double,
    inputs={"x": Tensor("T", "M 32")},
    outputs={"y": Tensor("T", "M 32"), "scratch": Tensor("i8", "1024", scratch=True)},
    dtypes={"T": ("fp16", "fp32")},
    params=[choice("ROWS", 16, 64)],
    default={"ROWS": 16},
    launch=lambda M, ROWS: Launch(grid=(minimum(4, cdiv(M, ROWS)),), args=(M,)),
    reference=lambda x: 2 * x,
    tiles={"M": "ROWS"},
)
"""


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., Problem]:
    """A problem of the kernel, with a piece of its text replaced; two descriptors take 256 bytes of each block."""

    def declared(old: str = "", new: str = "", rows: int | Range = 100) -> Problem:
        assert old in KERNEL
        (tmp_path / "kernel.py").write_text(KERNEL.replace(old, new) if old else KERNEL)
        return Problem.of(load_kernel("kernel.py", tmp_path), {"M": rows})

    return declared


def refusal(problem: Problem) -> TacticError:
    with pytest.raises(TacticError) as error:
        compile_tactic(problem, problem.kernel.default, H100)
    return error.value


def test_descriptors_are_kept_where_the_last_output_points(declare: Callable[..., Problem]) -> None:
    artifact = compile_tactic(declare(), {"ROWS": 16}, H100)
    x, m, y, scratch = parse(artifact.ptx).entry.params
    assert [x.type, m.type, y.type, scratch.type] == ["u64", "u32", "u64", "u64"]
    loaded = re.findall(r"ld\.param\.b64\s+(%rd\d+), \[(\w+)\]", artifact.ptx)
    assert {name for _, name in loaded} == {x.name, y.name, scratch.name}
    assert "tensormap.replace" in artifact.ptx


def test_scratch_memory_that_a_tactic_does_not_need_is_passed_all_the_same(declare: Callable[..., Problem]) -> None:
    body = KERNEL[KERNEL.index("    x = tl.make") : KERNEL.index("kernel = Kernel")]
    plain = "    offsets = tl.arange(0, ROWS)\n    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets))\n\n\n"
    artifact = compile_tactic(declare(body, plain), {"ROWS": 16}, H100)
    assert len(parse(artifact.ptx).entry.params) == 4


UNDECLARED = KERNEL.replace(', "scratch": Tensor("i8", "1024", scratch=True)', "").replace(", scratch_ptr", "")


def test_scratch_memory_is_added_where_nothing_speaks_of_it(declare: Callable[..., Problem]) -> None:
    problem = declare(KERNEL, UNDECLARED, Range(1, 16, 64))
    (scratch,) = (t for t in problem.kernel.outputs.values() if t.scratch)
    assert list(problem.kernel.results) == ["y"]
    assert [problem.shape(scratch, which) for which in ("min", "opt", "max")] == [(256,), (256,), (1024,)]
    declared = declare(KERNEL, KERNEL.replace(", scratch_ptr", ""))
    for tactic in ({"ROWS": 16}, {"ROWS": 64}):
        artifact = compile_tactic(problem, tactic, H100)
        assert [p.type for p in parse(artifact.ptx).entry.params] == ["u64", "u32", "u64", "u64"]
        assert compile_tactic(declared, tactic, H100).resources == artifact.resources, "no parameter is needed"
    with closing(Verifier(problem, seed=0, store=None, workers=1, timeout_s=300, memory_bytes=2**32)) as gate:
        assert gate.submit({"ROWS": 16}).result().kind == "verified"


def test_which_parameters_are_tuned_changes_no_identity_but_the_added_memory(declare: Callable[..., Problem]) -> None:
    narrow = declare(KERNEL, UNDECLARED)
    wide = declare(KERNEL, UNDECLARED.replace('choice("ROWS", 16, 64)', 'choice("ROWS", 8, 16, 64)'))
    assert kernel_hash(wide.kernel) == kernel_hash(narrow.kernel)
    assert wide.kernel.outputs["scratch"] != narrow.kernel.outputs["scratch"]


def test_scratch_memory_of_a_launch_that_cannot_be_told_has_to_be_declared(declare: Callable[..., Problem]) -> None:
    told = UNDECLARED.replace("minimum(4, cdiv(M, ROWS))", "4 if M > 64 else 1")
    with pytest.raises(
        ConfigError, match=r"whose size cannot be told \(the launch raised .* declare it: a last output"
    ):
        declare(KERNEL, told)


@pytest.mark.parametrize("rows", [64, Range(1, 16, 64)])
def test_blocks_that_need_more_than_there_is_are_refused(declare: Callable[..., Problem], rows: int | Range) -> None:
    assert compile_tactic(declare(rows=rows), {"ROWS": 16}, H100)
    error = refusal(declare('"1024"', '"1023"', rows))
    assert error.kind is FailureClass.CONSTRAINT
    assert "4 blocks use 256 bytes of scratch memory each, 1024 in all; the scratch output has 1023" in str(error)


def test_blocks_may_be_many_where_one_dimension_is_small_and_another_large(tmp_path: Path) -> None:
    text = KERNEL.replace("M 32", "N M 32").replace('"1024"', '"N 1024"')
    (tmp_path / "kernel.py").write_text(text.replace("lambda M, ROWS: Launch", "lambda N, M, ROWS: Launch"))
    kernel = load_kernel("kernel.py", tmp_path)
    assert compile_tactic(Problem.of(kernel, {"N": Range(1, 2, 4), "M": Range(1, 16, 64)}), {"ROWS": 16}, H100)
    (tmp_path / "narrow.py").write_text((tmp_path / "kernel.py").read_text().replace('"N 1024"', '"N 256"'))
    kernel = load_kernel("narrow.py", tmp_path)
    assert compile_tactic(Problem.of(kernel, {"N": 4, "M": 64}), {"ROWS": 16}, H100)
    error = refusal(Problem.of(kernel, {"N": Range(1, 2, 4), "M": Range(1, 16, 64)}))
    assert error.kind is FailureClass.CONSTRAINT
    assert "4 blocks use 256 bytes of scratch memory each, 1024 in all; the scratch output has 768" in str(error)


def test_the_code_may_not_use_what_triton_uses(declare: Callable[..., Problem]) -> None:
    error = refusal(declare("    for block", "    tl.store(scratch_ptr, 1)\n    for block"))
    assert error.kind is FailureClass.COMPILE
    assert "cannot be removed" in str(error)


def test_the_gate_looks_at_results_alone(declare: Callable[..., Problem]) -> None:
    problem = declare()
    verifier = Verifier(problem, seed=0, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        assert verifier.submit({"ROWS": 16}).result(timeout=60).verified == "verified"
    finally:
        verifier.close()
    assert list(expected(problem, make_inputs(problem, 0))) == ["y"]
    assert problem.bytes() == 2 * 100 * 32 * 2


def test_on_a_device_scratch_memory_is_guarded_and_not_read(declare: Callable[..., Problem]) -> None:
    problem = declare()
    case = make_case(problem, 0)
    assert [o.size for o in case.workload.outputs] == [6400, 1024]
    assert (case.checked, case.elements) == (3200, 3200)
    tile = np.ascontiguousarray(case.workload.inputs[0].tile).view(np.float16)
    right = np.resize(tile, 3200) * np.float16(2)
    evidence = Evidence((0, 0), (0, 0), (), (right.tobytes(), b"\x00"))
    assert judge(case, evidence) is None
    beside = Evidence((0, 0), (0, 8), (), evidence.samples)
    assert judge(case, beside) == "8 bytes before or after output scratch were overwritten at M=100 T=fp16"


def test_a_plugin_has_it_as_its_last_output(layer: ModuleType, declare: Callable[..., Problem]) -> None:
    problem = declare("test::double", "test::scratch_double", rows=Range(1, 16, 64))
    compiler = Compiler(H100, store=None, workers=1, timeout_s=60, memory_bytes=4 << 30)
    try:
        offer = CompilingOffer(legal, compiler)
        register(problem.kernel, offer)
        rehearsal, broken = rehearse(problem, offer, H100)
    finally:
        compiler.close()
    assert not broken
    assert rehearsal.outputs[-1] == ("INT8", dict.fromkeys(("min", "opt", "max"), (1024,)))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ('{"scratch": Tensor("i8", "1024", scratch=True), "y": Tensor("T", "M 32")}', "must be the last output"),
        ('{"scratch": Tensor("i8", "1024", scratch=True)}', "at least one output that is no scratch memory"),
    ],
)
def test_where_it_may_stand(declare: Callable[..., Problem], outputs: str, message: str) -> None:
    old = '{"y": Tensor("T", "M 32"), "scratch": Tensor("i8", "1024", scratch=True)}'
    with pytest.raises(ConfigError, match=message):
        declare(old, outputs)


def test_more_blocks_are_another_artifact(declare: Callable[..., Problem]) -> None:
    few, many = (compile_key(declare(rows=rows), {"ROWS": 16}, H100) for rows in (32, 64))
    assert few != many
