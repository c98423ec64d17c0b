"""The cuda backend on a real GPU, with kernels in PTX that are right, and that are wrong in every way.

Nothing here needs a compiler but the driver's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuner import Problem, Range
from tuner.backends.cuda.backend import CudaBackend
from tuner.backends.cuda.bench import Bench, Input, LaunchPlan, Output, StepLaunch, Workload
from tuner.backends.cuda.equipment import equip
from tuner.backends.cuda.probes import Probes
from tuner.compile.artifact import Artifact, Resources
from tuner.gpu import driver
from tuner.gpu.conditions import Nvml
from tuner.gpu.driver import LaunchShape
from tuner.gpu.present import available, describe
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, FailureClass, Outcome, Timing
from tuner.search.tactic import Config

REASON = available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

KERNEL = load_kernel("increment.py", Path(__file__).parents[3] / "kernels")
PROBLEM = Problem.of(KERNEL, {"N": 1 << 24})
DYNAMIC = Problem.of(KERNEL, {"N": Range(1, 1 << 20, 1 << 21)})

# y[i] = x[i] + 1, with one thread for each element and something in between.
PTX = """\
.version 7.0
.target sm_75
.address_size 64
.visible .entry increment(.param .u64 px, .param .u32 pn, .param .u64 py)
{{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .f32 %f<4>;
  .reg .b64 %x, %y, %o, %a, %b;
  ld.param.u64 %x, [px];
  ld.param.u32 %r1, [pn];
  ld.param.u64 %y, [py];
  cvta.to.global.u64 %x, %x;
  cvta.to.global.u64 %y, %y;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.u32 %r5, %r2, %r3, %r4;
  setp.ge.u32 %p, %r5, %r1;
  @%p bra done;
  mul.wide.u32 %o, %r5, 4;
  add.u64 %a, %x, %o;
  add.u64 %b, %y, %o;
  ld.global.f32 %f1, [%a];
  add.f32 %f2, %f1, 0f3F800000;
  {fault}
  st.global.f32 [%b], %f2;
done:
  ret;
}}
"""
GOOD = PTX.format(fault="")
FAULTS = {
    "illegal address": "mov.u64 %o, 0x100000000000; add.u64 %b, %b, %o;",
    "misaligned": "add.u64 %b, %b, 1;",
    "endless": "again: ld.volatile.global.u32 %r6, [%x]; setp.ne.u32 %p, %r6, 0x12345678; @%p bra again;",
    "trap": "trap;",
    "out of bounds": "mul.wide.u32 %o, %r1, 4; add.u64 %a, %y, %o; st.global.f32 [%a+8], %f2;",
    "before": "st.global.f32 [%y+-4], %f2;",
    "unwritten": "setp.eq.u32 %p, %r5, 5; @%p bra done;",
    "input": "st.global.f32 [%a], %f2;",
    "wrong": "add.f32 %f2, %f2, 0f3F800000;",
    "edge": "and.b32 %r6, %r1, 127; setp.eq.u32 %p, %r6, 0; selp.f32 %f3, 0f00000000, 0f3F800000, %p;"
    " add.f32 %f2, %f2, %f3;",
}


class PtxCompiler:
    """Hands out PTX by block size."""

    def __init__(self, codes: Mapping[int, str], shared_bytes: int = 0) -> None:
        self._codes, self._shared_bytes = codes, shared_bytes

    def submit(self, problem: Problem, config: Config) -> Future[Artifact | Failure]:
        future: Future[Artifact | Failure] = Future()
        block, shared = int(config["BLOCK_SIZE"]), self._shared_bytes
        nothing: dict[str, Any] = {f.name: {} if "Mapping" in str(f.type) else 0 for f in fields(Resources)}
        text = self._codes[block]
        future.set_result(
            Artifact(text, "increment", (block, 1, 1), shared, "sm_75", (7, 0), Resources(**nothing), b"", "none", 0.0)
        )
        return future

    def versions(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


@contextmanager
def backend(
    codes: Mapping[int, str], problem: Problem = PROBLEM, shared_bytes: int = 0, ordinals: tuple[int, ...] = (0,)
) -> Iterator[CudaBackend]:
    devices = describe(ordinals)
    factories = [partial(Bench, d.ordinal) for d in devices]
    equipment = equip(devices, factories, PtxCompiler(codes, shared_bytes), (factories[0], 1))
    made = CudaBackend(problem, equipment, closes=equipment)
    try:
        yield made
    finally:
        made.close()


def config(block: int) -> dict[str, int]:
    return {"BLOCK_SIZE": block, "num_warps": 2}


def outcomes(made: CudaBackend, blocks: list[int]) -> list[Outcome]:
    found = dict(made.evaluate([config(b) for b in blocks]))
    return [found[i] for i in range(len(blocks))]


@pytest.fixture(scope="module")
def probes() -> Probes:
    driver.init()
    driver.retain_context(0)
    return Probes()


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_probes_see_what_numpy_sees(probes: Probes, size: int) -> None:
    rng = np.random.default_rng(size)
    data = rng.integers(0, 4, 1_000_008 // size, dtype=f"u{size}")
    address, positions, target = driver.alloc(data.nbytes), driver.alloc(8 * 1000), driver.alloc(8 * 1000)
    driver.upload(address, data)
    pattern = np.array([3], data.dtype).tobytes()
    assert probes.count(address, data.size, pattern) == int((data == 3).sum())
    before = probes.checksum(address, data.nbytes)
    assert probes.checksum(address, data.nbytes) == before
    at = rng.integers(0, data.size, 1000, dtype=np.uint64)
    driver.upload(positions, at)
    probes.gather(address, positions, 1000, size, target)
    assert driver.download(target, 1000 * size) == data[at.astype(np.int64)].tobytes()
    driver.fill(address + data.nbytes - 1, 0xEE, 1)
    assert probes.checksum(address, data.nbytes) != before
    for a in (address, positions, target):
        driver.free(a)


def test_a_bench_repeats_tiles_poisons_outputs_and_launches_in_tensorrts_order() -> None:
    bench = Bench(0)
    tile, n = np.arange(1009, dtype=np.float32), 100_003
    samples = np.array([0, 1, 1008, 1009, 50_000, n - 1], np.uint64)
    workload = Workload((Input(4 * n, tile.view(np.uint8)),), (Output(4 * n, b"\xff" * 4, True, samples),), 4 << 20)
    assert bench.place(0, workload) == 6
    handle = bench.load(GOOD.encode(), "increment", 0)

    def plan(count: int) -> LaunchPlan:
        return LaunchPlan((StepLaunch(LaunchShape((-(-n // 128), 1, 1), (128, 1, 1)), (count,), (0,), (1,)),))

    evidence = bench.check([handle], 0, plan(n))
    assert (evidence.unwritten, evidence.guards, evidence.changed) == ((0,), (0,), ())
    assert np.frombuffer(evidence.samples[0], np.float32).tolist() == [int(s) % 1009 + 1 for s in samples]
    half = bench.check([handle], 0, plan(n // 2))
    assert half.unwritten == (n - n // 2,)
    assert bench.time([handle], 0, plan(n), 12) > 0
    bench.unload(handle)
    assert bench.healthy()


def test_a_right_tactic_is_measured_with_the_conditions_it_ran_under() -> None:
    with backend({128: GOOD}) as made:
        (outcome,) = outcomes(made, [128])
        assert isinstance(outcome, Timing), outcome
        assert 1 < outcome.time_us < 10_000
        assert outcome.facts["rotated_l2_sizes"] >= 2
        assert outcome.facts["launch_bound"] == 0
        if Nvml(describe([0])[0].uuid).read() is not None:
            assert outcome.facts["sm_mhz"] > 100


def test_a_launch_bound_kernel_is_recognised() -> None:
    with backend({128: GOOD}, Problem.of(KERNEL, {"N": 4096})) as made:
        (outcome,) = outcomes(made, [128])
        assert isinstance(outcome, Timing), outcome
        assert outcome.facts["launch_bound"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("illegal address", FailureClass.RUNTIME, "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("misaligned", FailureClass.RUNTIME, "CUDA_ERROR_MISALIGNED_ADDRESS"),
        ("endless", FailureClass.TIMEOUT, "did not end"),
        ("trap", FailureClass.RUNTIME, "CUDA_ERROR_"),
        ("out of bounds", FailureClass.CORRECTNESS, "before or after output y"),
        ("before", FailureClass.CORRECTNESS, "before or after output y"),
        ("unwritten", FailureClass.CORRECTNESS, "1 of 16777216 elements of y were never written"),
        ("input", FailureClass.CORRECTNESS, "input x"),
        ("wrong", FailureClass.CORRECTNESS, "y is wrong"),
    ],
)
def test_a_fault_costs_one_trial_and_the_next_tactic_runs_in_a_clean_context(
    fault: str, kind: FailureClass, text: str
) -> None:
    with backend({128: GOOD, 256: PTX.format(fault=FAULTS[fault]), 512: GOOD}) as made:
        assert isinstance(outcomes(made, [128])[0], Timing)
        begin = time.monotonic()
        bad, good = (outcomes(made, [b])[0] for b in (256, 512))
        print(f"{fault}: {time.monotonic() - begin:.2f} s for it and the next tactic")
        assert isinstance(bad, Failure)
        assert bad.kind == kind
        assert text in bad.message
        assert isinstance(good, Timing), good


def test_too_much_shared_memory_carries_the_drivers_name() -> None:
    with backend({128: GOOD}, shared_bytes=1 << 20) as made:
        (outcome,) = outcomes(made, [128])
        assert isinstance(outcome, Failure)
        assert outcome.kind == FailureClass.RUNTIME
        assert "CUDA_ERROR_INVALID_VALUE from cuFuncSetAttribute" in outcome.message


def test_more_shared_memory_than_is_given_without_asking_works() -> None:
    with backend({128: GOOD}, shared_bytes=60 << 10) as made:
        assert isinstance(outcomes(made, [128])[0], Timing)


def test_ptx_that_the_driver_refuses_comes_with_its_log() -> None:
    with backend({128: PTX.format(fault="frobnicate.f32 %f2, %f2;")}) as made:
        (outcome,) = outcomes(made, [128])
        assert isinstance(outcome, Failure)
        assert outcome.kind == FailureClass.COMPILE
        assert "CUDA_ERROR_INVALID_PTX" in outcome.message
        assert "frobnicate" in outcome.message


def test_a_result_wrong_at_awkward_sizes_only_is_found() -> None:
    code = {128: PTX.format(fault=FAULTS["edge"])}
    with backend(code) as made:
        assert isinstance(outcomes(made, [128])[0], Timing)
    with backend(code, DYNAMIC) as made:
        (outcome,) = outcomes(made, [128])
        assert isinstance(outcome, Failure)
        assert outcome.kind == FailureClass.CORRECTNESS


def test_copies_of_one_tactic_tie_and_a_finalist_that_breaks_is_left_out() -> None:
    with backend({128: GOOD, 256: PTX.format(fault=FAULTS["trap"])}) as made:
        a, b, c = made.confirm([config(128), config(128), config(256)])
        assert isinstance(a, Timing) and isinstance(b, Timing), (a, b)
        assert isinstance(c, Failure)
        assert made.tied(a, b)


def test_one_gpu_named_twice_takes_turns() -> None:
    with backend({128: GOOD, 256: GOOD}, ordinals=(0, 0)) as made:
        assert all(isinstance(o, Timing) for o in outcomes(made, [128, 256]))
