"""Code that writes an input, never writes an output, or only adds to one is refused; whatever is not certain passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import triton
import triton.language as tl
from declare import declare, double

from tuner import Kernel, Launch, Problem, Tensor, cdiv, choice
from tuner.compile.launch_rules import LaunchRuleError
from tuner.compile.pipeline import compile_tactic
from tuner.compile.pointers import check_directions, pointer_uses
from tuner.compile.ptx import parse
from tuner.errors import ConfigError
from tuner.frontends import CudaCpp
from tuner.gpu.target import Target
from tuner.outcome import TacticError

H100 = Target((9, 0))
TACTIC = {"THREADS": 64}
SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "baseline").glob("*.ptx"))

HEAD = """
.version 8.7
.target sm_90a
.address_size 64
.visible .entry code(.param .u64 x, .param .u32 n, .param .u64 y)
{
    .reg .pred %p<4>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<16>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
"""


def check(body: str, *, scratch: bool = False, integers: int = 1) -> None:
    """Hold an entry (x, n, y) with this body against its declaration."""
    check_directions(parse(HEAD + body + "\nret;\n}"), ["x"], integers, ["y"], scratch=scratch)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("ld.global.u32 %r1, [%rd2]; st.global.u32 [%rd1], %r1;", "writes input 'x'"),
        ("st.u32 [%rd1+4], 0; st.u32 [%rd2], 0;", "writes input 'x'"),
        ("cvta.to.global.u64 %rd3, %rd1; @%p1 add.s64 %rd3, %rd3, 4; red.global.add.u32 [%rd3], 1;", "writes input"),
        ("LOOP: add.s64 %rd3, %rd1, %rd4;\n@!%p1 st.global.v2.u32 [%rd3], {%r1, %r2}; bra LOOP;", "writes input"),
        ("{ .reg .b64 t; mov.b64 t, %rd1; atom.global.cas.b32 %r1, [t], 0, 1; }", "writes input"),
        ("cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 16;", "writes input"),
        ("ld.global.nc.u32 %r1, [%rd2];", "never writes output 'y'"),
        ("cp.async.ca.shared.global [%r1], [%rd2], 16;", "never writes output"),
        ("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2], 16, [%r2];", "never writes"),
        ("add.s64 %rd3, %rd2, 8; red.global.add.f32 [%rd3], 0f3F800000;", "only adds to output 'y'"),
        ("atom.global.gpu.add.u32 %r1, [%rd2], 1;", "only adds to output 'y'"),
        ("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd2], [%r1], 16;", "only adds to output"),
    ],
)
def test_what_is_certainly_wrong_is_refused(body: str, message: str) -> None:
    with pytest.raises(LaunchRuleError, match=message) as error:
        check(body)
    assert error.value.rule == "direction"


@pytest.mark.parametrize(
    "body",
    [
        "st.global.u32 [%rd2], 0; red.global.add.u32 [%rd2], 1;",
        "atom.global.exch.b32 %r1, [%rd2], 0;",
        "cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r1], 16;",
        # Either of two pointers: nobody knows which.
        "selp.b64 %rd3, %rd1, %rd2, %p1; st.global.u32 [%rd3], 0;",
        "mov.u64 %rd3, %rd1; @%p1 mov.u64 %rd3, %rd2; st.global.u32 [%rd3], 0;",
        "ld.local.u64 %rd3, [%rd5]; @%p1 mov.u64 %rd3, %rd1; st.global.u32 [%rd3], 0; st.global.u32 [%rd2], 0;",
        # Out of sight: in memory, in a function, in a tensor map, behind the parameter's own address.
        "st.local.u64 [%rd5], %rd2; ld.local.u64 %rd6, [%rd5]; st.global.u32 [%rd6], 0;",
        "{ .param .b64 p0; st.param.b64 [p0], %rd2; call.uni helper, (p0); }",
        "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%rd5], %rd2;",
        "mov.b64 %rd7, y; ld.param.u64 %rd8, [%rd7]; st.global.u32 [%rd8], 0;",
        # A distance between two pointers is no pointer.
        "sub.s64 %rd3, %rd1, %rd2; add.s64 %rd4, %rd2, %rd3; st.global.u32 [%rd4], 0; st.global.u32 [%rd2], 0;",
        # Shared memory is the block's own, whatever its address was made of.
        "and.b64 %rd3, %rd1, 15; st.shared.u32 [%rd3], 0; st.global.u32 [%rd2], 0;",
        "mbarrier.init.shared::cta.b64 [%rd5], 1; prefetch.global.L2 [%rd1]; st.global.u32 [%rd2], 0;",
    ],
)
def test_what_is_not_certain_passes(body: str) -> None:
    check(body)


def test_scratch_memory_is_used_as_the_code_likes() -> None:
    check("red.global.add.u32 [%rd2], 1;", scratch=True)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_code_writes_its_outputs_and_no_input(path: Path) -> None:
    module = parse(path.read_text())
    uses, kinds = pointer_uses(module), [param.size for param in module.entry.params]
    first_integer = kinds.index(4)
    last_integer = len(kinds) - kinds[::-1].index(4)
    assert not any(use.may_store or use.may_add for use in uses[:first_integer])
    assert all(use.written or use.hidden for use in uses[last_integer:])


# -- real compilers ------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def swapped(to_ptr, n, from_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(to_ptr + at, tl.load(from_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit  # type: ignore[untyped-decorator]
def added(x_ptr, n, y_ptr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(y_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@triton.jit  # type: ignore[untyped-decorator]
def split(x_ptr, n, y_ptr, BLOCK: tl.constexpr, PARTS: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n) * 2
    if PARTS == 1:
        tl.store(y_ptr + at, value, mask=at < n)
    else:
        tl.atomic_add(y_ptr + at, value, mask=at < n)


def problem(source: Any, **changes: Any) -> Problem:
    declared: dict[str, Any] = {
        "id": "test::double",
        "source": source,
        "inputs": {"x": Tensor("fp32", "N")},
        "outputs": {"y": Tensor("fp32", "N")},
        "params": [choice("BLOCK", 128)],
        "default": {"BLOCK": 128},
        "launch": lambda N, BLOCK: Launch((cdiv(N, BLOCK),), (N,)),
        "reference": lambda x: 2 * x,
    }
    return Problem.of(Kernel(**{**declared, **changes}), {"N": 1000})


@pytest.mark.parametrize(
    ("source", "message"), [(swapped, "writes input 'x', its parameter 0"), (added, "only adds to output 'y'")]
)
def test_triton_kernels_are_refused(source: Any, message: str) -> None:
    with pytest.raises(TacticError, match=message):
        compile_tactic(problem(source), {"BLOCK": 128}, H100)


def test_only_the_tactic_that_adds_is_refused() -> None:
    both = problem(split, params=[choice("BLOCK", 128), choice("PARTS", 1, 2)], default={"BLOCK": 128, "PARTS": 1})
    compile_tactic(both, {"BLOCK": 128, "PARTS": 1}, H100)
    with pytest.raises(TacticError, match="uninitialised"):
        compile_tactic(both, {"BLOCK": 128, "PARTS": 2}, H100)


SWAPPED = """
extern "C" __global__ void twice(T* to, int n, T* from) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n) to[i] = from[i] + from[i];
}
"""


def test_cuda_cpp_whose_pointers_stand_the_other_way_round_is_refused() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    with pytest.raises(TacticError, match="writes input 'x'"):
        compile_tactic(double(CudaCpp(SWAPPED, "twice")), TACTIC, H100)
    compile_tactic(
        double(CudaCpp(SWAPPED.replace("to[i] = from[i] + from[i]", "from[i] = to[i]"), "twice")), TACTIC, H100
    )


@pytest.mark.parametrize(
    "signature",
    [
        "T* __restrict__ to, int n, const T* __restrict__ from",
        "T* to, int n, T const* from",
        "T* to, int n,\n    const T /* elements */ *const __restrict__ from",
    ],
)
def test_an_output_behind_a_pointer_to_const_is_refused_when_declared(signature: str) -> None:
    code = f"__global__ void __launch_bounds__(THREADS) twice({signature}) {{ to[n] = from[n]; }}"
    with pytest.raises(ConfigError, match=r"takes output 'y' as '.*const.*', which is const"):
        declare(CudaCpp(code, "twice"))


@pytest.mark.parametrize(
    "signature",
    [
        "const T* x, int n, T* y",
        "const T* x, int n, T* const y",
        "const T* x, int n, const T** y",
        "In x, int n, Out y",
    ],
)
def test_other_signatures_are_left_to_the_compiler(signature: str) -> None:
    declare(CudaCpp(f"__global__ void twice({signature}) {{ THREADS; }}", "twice"))
