"""Running one block of PTX on integers: trip counts, branches taken, and what each warp touches."""

from __future__ import annotations

import pytest

from tuner.backends.model.program import Program
from tuner.backends.model.trace import Access, Trace, first_addresses, trace

HEADER = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 k_param_0, .param .u32 k_param_1, .param .u64 k_param_2)
{
  .reg .pred %p<9>; .reg .b32 %r<99>; .reg .f32 %f<9>; .reg .b64 %rd<99>;
  ld.param.u64 %rd0, [k_param_0];
  ld.param.u32 %r0, [k_param_1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
"""


def program(body: str) -> Program:
    return Program.read(HEADER + body + "\n  ret;\n}\n")


def run(body: str, n: int = 1000, threads: int = 64) -> Trace:
    return trace(program(body), (threads, 1, 1), (10, 1, 1), (n,), (0, 0, 0))


def accesses(found: Trace, kind: str) -> list[Access]:
    return [s.access for s in found.steps if s.instruction.kind == kind and s.access is not None]


def test_a_loop_runs_as_often_as_its_bound_says() -> None:
    body = """
  mov.b32 %r3, 0;
$top:
  add.s32 %r3, %r3, 64;
  ex2.approx.ftz.f32 %f1, %f0;
  setp.lt.s32 %p1, %r3, %r0;
  @%p1 bra $top;"""
    found = run(body, n=1000)
    assert sum(s.instruction.kind == "special" for s in found.steps) == 16
    assert found.complete


@pytest.mark.parametrize(("n", "taken"), [(64, 1), (65, 2)])
def test_a_uniform_branch_is_decided_by_the_arguments(n: int, taken: int) -> None:
    body = """
  setp.gt.s32 %p1, %r0, 64;
  @%p1 bra $long;
  ex2.approx.ftz.f32 %f1, %f0;
  bra.uni $end;
$long:
  ex2.approx.ftz.f32 %f1, %f0;
  ex2.approx.ftz.f32 %f2, %f1;
$end:
  bar.sync 0;"""
    assert sum(s.instruction.kind == "special" for s in run(body, n=n).steps) == taken


def test_scopes_and_declarations_are_no_instructions() -> None:
    body = """
  {
  .reg .pred complete;
  $inside:
  mov.pred complete, -1;
  @!complete bra.uni $inside;
  }
$behind: // a comment; with a semicolon
  ex2.approx.ftz.f32 %f1, %f0;"""
    found = run(body)
    assert [".".join(s.instruction.parts) for s in found.steps[-2:]] == ["mov.pred", "ex2.approx.ftz.f32"]
    assert found.complete


def test_a_branch_on_loaded_data_leaves_the_trace_incomplete() -> None:
    body = """
  ld.global.b32 %r3, [%rd0];
  setp.eq.s32 %p1, %r3, 0;
  @%p1 bra $end;
  ex2.approx.ftz.f32 %f1, %f0;
$end:"""
    assert not run(body).complete


LOAD = """
  mul.lo.s32 %r3, %r1, STRIDE;
  mad.wide.s32 %rd1, %r3, 4, %rd0;
  setp.lt.s32 %p1, %r1, %r0;
  @%p1 ld.global.VECTORb32 %r4, [%rd1];"""


@pytest.mark.parametrize(
    ("stride", "vector", "bytes_", "sectors", "wavefronts"),
    [
        (1, "", 256, 8, 2),  # neighbours: a warp reads one line
        (4, "v4.", 1024, 32, 8),
        (8, "", 256, 64, 16),  # a sector of its own for each thread
        (32, "", 256, 64, 64),  # a line of its own for each thread
        (0, "", 256, 2, 2),  # all threads the same word
    ],
)
def test_sectors_count_what_a_warp_touches(
    stride: int, vector: str, bytes_: int, sectors: int, wavefronts: int
) -> None:
    (access,) = accesses(run(LOAD.replace("STRIDE", str(stride)).replace("VECTOR", vector)), "load")
    assert (access.tensor, access.bytes, access.sectors, access.wavefronts) == (0, bytes_, sectors, wavefronts)


def test_masked_threads_ask_for_nothing() -> None:
    (access,) = accesses(run(LOAD.replace("STRIDE", "1").replace("VECTOR", ""), n=10), "load")
    assert (access.bytes, access.sectors) == (40, 2)


@pytest.mark.parametrize(("rows", "run_bytes"), [(16, 64.0), (32, 128.0), (64, 256.0)])
def test_runs_are_what_a_block_touches_without_a_gap(rows: int, run_bytes: float) -> None:
    body = f"""
  rem.u32 %r3, %r1, {rows};
  div.u32 %r4, %r1, {rows};
  mad.lo.s32 %r5, %r4, 1000, %r3;
  mad.wide.s32 %rd1, %r5, 4, %rd0;
  ld.global.b32 %r6, [%rd1];"""
    assert run(body).run_bytes == {0: run_bytes}


def test_runs_join_what_several_instructions_touch() -> None:
    body = """
  shl.b32 %r3, %r1, 2;
  mad.wide.s32 %rd1, %r3, 2, %rd0;
  ld.global.v2.b16 {%rs1, %rs2}, [%rd1];
  ld.global.v2.b16 {%rs3, %rs4}, [%rd1+4];"""
    assert run(body).run_bytes == {0: 64 * 8}


@pytest.mark.parametrize(("stride", "wavefronts"), [(4, 1), (8, 2), (64, 16), (128, 32), (132, 1), (0, 1)])
def test_bank_conflicts_serialise(stride: int, wavefronts: int) -> None:
    body = f"""
  mov.b32 %r5, tile;
  mad.lo.s32 %r3, %r1, {stride}, %r5;
  ld.shared.b32 %r4, [%r3];"""
    (access,) = accesses(run(body, threads=32), "shared_load")
    assert access.wavefronts == wavefronts


def test_a_wide_shared_access_takes_a_pass_for_each_128_bytes() -> None:
    body = """
  mul.lo.s32 %r3, %r1, 16;
  st.shared.v4.b32 [%r3], {%r4, %r5, %r6, %r7};"""
    (access,) = accesses(run(body, threads=64), "shared_store")
    assert (access.bytes, access.wavefronts) == (1024, 8)


def test_an_asynchronous_copy_of_nothing_costs_nothing() -> None:
    body = """
  shl.b32 %r3, %r1, 4;
  mad.wide.s32 %rd1, %r1, 16, %rd0;
  setp.gt.s32 %p1, %r0, 500;
  selp.b32 %r5, 16, 0, %p1;
  cp.async.cg.shared.global [ %r3 + 0 ], [ %rd1 + 0 ], 0x10, %r5;"""
    assert accesses(run(body, n=501), "async")[0].bytes == 1024
    assert accesses(run(body, n=500), "async")[0].bytes == 0


@pytest.mark.parametrize(
    ("instruction", "value"),
    [
        ("add.s32 %r3, %r2, -9;", -2),
        ("shr.u32 %r3, %r4, 28;", 15),
        ("shr.s32 %r3, %r4, 1;", -4),
        ("div.s32 %r3, %r4, 2;", -3),
        ("rem.s32 %r3, %r4, 2;", -1),
        ("bfe.u32 %r3, %r4, 0, 4;", 9),
        ("min.u32 %r3, %r4, %r2;", 7),
        ("min.s32 %r3, %r4, %r2;", -7),
        ("mul.lo.s32 %r3, %r4, 1073741824;", 1073741824),
        ("xor.b32 %r3, %r4, %r2;", -2),
        ("not.b32 %r3, %r2;", -8),
    ],
)
def test_arithmetic_is_that_of_32_bits(instruction: str, value: int) -> None:
    """Block 7 loads from the address that the result leads to."""
    body = f"""
  mov.b32 %r4, -7;
  {instruction}
  mad.wide.s32 %rd1, %r3, 4, %rd0;
  ld.global.b32 %r5, [%rd1];"""
    (addresses,) = first_addresses(program(body), (64, 1, 1), (8, 1, 1), (1,), 8).values()
    assert addresses[7] - (1 << 40) == 4 * value


def test_first_addresses_tell_which_blocks_share() -> None:
    body = """
  div.u32 %r3, %r2, 4;
  shl.b32 %r4, %r3, 12;
  mad.wide.s32 %rd1, %r4, 4, %rd0;
  ld.global.b32 %r5, [%rd1];"""
    starts = first_addresses(program(body), (64, 1, 1), (10, 1, 1), (1000,), 10)
    assert len(set(starts[0].tolist())) == 3


def test_a_wait_for_the_tensor_memory_accelerator_ends_and_what_it_brings_counts() -> None:
    body = """
  setp.eq.s32 %p2, %r1, 0;
  mov.b32 %r3, 0;
$top:
  @%p2 mbarrier.arrive.expect_tx.shared.b64 _, [%r9], 4096;
  @%p2 cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r8], [%rd0, {%r3}], [%r9];
  {
    .reg .pred complete;
    waitLoop:
    mbarrier.try_wait.parity.shared.b64 complete, [%r9], 0;
    @!complete bra.uni waitLoop;
  }
  add.s32 %r3, %r3, 64;
  setp.lt.s32 %p1, %r3, %r0;
  @%p1 bra $top;"""
    found = run(body, n=640)
    assert found.complete
    assert accesses(found, "bulk") == 10 * [Access(-1, 4096, 128, 32)]


@pytest.mark.parametrize(
    ("announced", "size"),
    [
        ("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 %rd1, [%r9], 0x80", 128),
        ("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r9], 128", 128),
        ("mbarrier.arrive.expect_tx.shared.b64 _, [%r9], %r0", 0),
        ("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r9], %r0", 0),
    ],
)
def test_bytes_to_come_are_announced_in_several_forms(announced: str, size: int) -> None:
    found = run(f"  {announced};")
    (step,) = (s for s in found.steps if s.instruction.kind == "bulk")
    assert step.instruction.bytes == size
    assert found.complete
