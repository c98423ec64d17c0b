"""The cuda backend on a simulated device, in real processes that really hang and crash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_bench import FakeBench, FakeCompiler

from tuner import Problem, Range, Timed
from tuner.backends.cuda.backend import CudaBackend
from tuner.backends.cuda.equipment import equip
from tuner.backends.timing.plan import Confirmation
from tuner.errors import ConfigError, UnavailableError
from tuner.gpu.present import DeviceInfo
from tuner.kernel.loader import load_kernel
from tuner.outcome import Failure, FailureClass, Outcome, Timing

GPU = DeviceInfo(0, "Simulated", "GPU-0", (9, 0), 132, 1 << 20, (13, 0))
KERNEL = load_kernel("increment.py", Path(__file__).parents[3] / "kernels")
PROBLEM = Problem.of(KERNEL, {"N": 1 << 16})
DYNAMIC = Problem.of(KERNEL, {"N": Range(1, 1 << 16, 1 << 17)})


def config(block: int) -> dict[str, int]:
    return {"BLOCK_SIZE": block, "num_warps": 2}


@contextmanager
def backend(
    codes: Mapping[int, Mapping[str, Any]], problem: Problem = PROBLEM, devices: int = 1, warm: bool = False
) -> Iterator[CudaBackend]:
    equipment = equip(
        [replace(GPU, uuid=f"GPU-{i}", ordinal=i) for i in range(devices)],
        [FakeBench] * devices,
        FakeCompiler(codes),
        (FakeBench, 1),
    )
    made = CudaBackend(problem, equipment, warm=warm, confirmation=Confirmation(max_rounds=40), closes=equipment)
    try:
        yield made
    finally:
        made.close()


def outcomes(made: CudaBackend, blocks: list[int]) -> list[Outcome]:
    found = dict(made.evaluate([config(b) for b in blocks]))
    return [found[i] for i in range(len(blocks))]


def test_a_tactic_is_checked_and_timed() -> None:
    with backend({64: {"us": 130}}) as made:
        (outcome,) = outcomes(made, [64])
        assert isinstance(outcome, Timing)
        assert outcome.time_us == pytest.approx(130, rel=0.01)
        assert (outcome.kind, outcome.statistic, outcome.verified) == ("measurement", "median", "verified")
        assert outcome.facts["checked_elements"] == 1 << 16
        assert outcome.facts["rotating_sets"] == 4  # 2 x 256 KiB each, to pass through twice the L2 of 1 MiB
        assert outcome.facts["launch_bound"] == 0
        assert made.origin.environment["device"] == made.origin.device == "Simulated"


def test_warm_measuring_rotates_nothing_and_goes_by_another_name() -> None:
    with backend({64: {"us": 130}}, warm=True) as made:
        (outcome,) = outcomes(made, [64])
        assert isinstance(outcome, Timing)
        assert outcome.facts["rotating_sets"] == 1
        assert (made.origin.backend, made.origin.environment["cache"]) == ("cuda-warm", "warm")
    with backend({}) as made:
        assert (made.origin.backend, made.origin.environment["cache"]) == ("cuda", "cold")


FAULTS: list[tuple[dict[str, Any], FailureClass, str]] = [
    ({"fault": "hang"}, FailureClass.TIMEOUT, "did not end"),
    ({"fault": "crash"}, FailureClass.RUNTIME, "SIGSEGV"),
    ({"fault": "CUDA_ERROR_ILLEGAL_ADDRESS"}, FailureClass.RUNTIME, "CUDA_ERROR_ILLEGAL_ADDRESS"),
    ({"fault": "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"}, FailureClass.RUNTIME, "OUT_OF_RESOURCES"),
    ({"late": "CUDA_ERROR_MISALIGNED_ADDRESS"}, FailureClass.RUNTIME, "MISALIGNED_ADDRESS"),
    ({"late": "hang"}, FailureClass.TIMEOUT, "did not end"),
    ({"shared": 300_000}, FailureClass.RUNTIME, "cuFuncSetAttribute"),
    ({"fault": "CUDA_ERROR_INVALID_PTX"}, FailureClass.COMPILE, "no such instruction"),
    ({"fault": "compile"}, FailureClass.COMPILE, "no such intrinsic"),
    ({"fault": "wrong"}, FailureClass.CORRECTNESS, "y is wrong"),
    ({"fault": "unwritten"}, FailureClass.CORRECTNESS, "3 of 65536 elements of y were never written"),
    ({"fault": "out of bounds"}, FailureClass.CORRECTNESS, "4 bytes before or after output y"),
    ({"fault": "input"}, FailureClass.CORRECTNESS, "input x"),
]


def test_every_fault_costs_one_trial() -> None:
    codes: dict[int, Mapping[str, Any]] = {64: {"us": 130}}
    codes |= {128 + i: {"us": 50, **code} for i, (code, _, _) in enumerate(FAULTS)}
    codes |= {100: {"us": 120}}
    with backend(codes) as made:
        outcomes(made, [64])
        found = outcomes(made, [*range(128, 128 + len(FAULTS)), 100])
        for outcome, (_, kind, text) in zip(found, FAULTS, strict=False):
            assert isinstance(outcome, Failure)
            assert outcome.kind == kind
            assert text in outcome.message
        best = found[-1]
        assert isinstance(best, Timing)
        assert best.time_us == pytest.approx(120, rel=0.01)


def test_a_fault_at_awkward_sizes_only_is_found_where_dimensions_vary() -> None:
    codes = {64: {"us": 1, "fault": "wrong", "above": 1 << 16}}
    with backend(codes) as made:
        assert isinstance(outcomes(made, [64])[0], Timing)
    with backend(codes, DYNAMIC) as made:
        (outcome,) = outcomes(made, [64])
        assert isinstance(outcome, Failure)
        assert outcome.kind == FailureClass.CORRECTNESS
        assert "N=131071" in outcome.message


def test_a_tactic_three_times_slower_than_the_incumbent_is_given_up() -> None:
    with backend({64: {"us": 130}, 128: {"us": 1000}}) as made:
        fast, slow = (outcomes(made, [b])[0] for b in (64, 128))
        assert isinstance(fast, Timing) and isinstance(slow, Timing)
        assert (fast.facts["stopped_early"], slow.facts["stopped_early"]) == (0, 1)
        assert len(slow.samples_us) <= 3


def test_finalists_are_confirmed_and_ties_told_from_differences() -> None:
    with backend({64: {"us": 130}, 128: {"us": 130.1}, 256: {"us": 135}}) as made:
        a, b, c = made.confirm([config(n) for n in (64, 128, 256)])
        assert isinstance(a, Timing) and isinstance(b, Timing) and isinstance(c, Timing)
        assert made.tied(a, b)
        assert not made.tied(a, c)
        assert a.facts["rounds"] >= c.facts["rounds"] >= 16


def test_a_finalist_that_fails_is_left_out() -> None:
    with backend({64: {"us": 130}, 128: {"us": 120, "late": "crash"}, 256: {"us": 140}}) as made:
        a, b, c = made.confirm([config(n) for n in (64, 128, 256)])
        assert isinstance(a, Timing) and isinstance(c, Timing)
        assert isinstance(b, Failure)
        assert b.kind == FailureClass.RUNTIME


def test_several_devices_share_the_tactics() -> None:
    with backend({n: {"us": n} for n in range(100, 108)}, devices=2) as made:
        found = outcomes(made, list(range(100, 108)))
        assert all(isinstance(o, Timing) for o in found)


def test_one_device_named_twice_takes_turns() -> None:
    compiler = FakeCompiler({n: {"us": n} for n in range(100, 104)})
    equipment = equip([GPU, GPU], [FakeBench] * 2, compiler, (FakeBench, 1))
    made = CudaBackend(PROBLEM, equipment, closes=equipment)
    try:
        assert all(isinstance(o, Timing) for o in outcomes(made, list(range(100, 104))))
    finally:
        made.close()


def test_different_models_never_share_a_study() -> None:
    other = replace(GPU, ordinal=1, name="Another")
    with pytest.raises(ConfigError, match="GPU 0 is a Simulated and GPU 1 a Another"):
        equip([GPU, other], [FakeBench] * 2, FakeCompiler({}), None)


def test_a_problem_too_large_for_the_device_ends_the_run_with_a_reason() -> None:
    large = Problem.of(KERNEL, {"N": 1 << 28})
    with backend({64: {"us": 1}}, large) as made, pytest.raises(UnavailableError, match=r"takes 2.00 GiB"):
        outcomes(made, [64])


def test_an_evaluation_can_be_abandoned() -> None:
    with backend({n: {"us": n} for n in range(100, 110)}) as made:
        for _ in made.evaluate([config(n) for n in range(100, 110)]):
            break
        assert isinstance(outcomes(made, [105])[0], Timing)


def test_closing_leaves_no_process() -> None:
    with backend({64: {"us": 130}}) as made:
        outcomes(made, [64])
        assert _children()
    assert not _children()


def _children() -> set[str]:
    """Processes of this one that are not the standard library's own helpers."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.add((stat.parent / "cmdline").read_text())
        except OSError:
            continue
    return {c for c in found if "tuner.workers" in c}


def test_the_time_is_the_weighted_mean_over_the_shapes_that_are_listed() -> None:
    timed = [Timed({"N": 1 << 10}, 3), Timed({"N": 1 << 16}, 1)]
    mixed = Problem.of(KERNEL, dict(DYNAMIC.dims), timed=timed)
    with backend({64: {"us": 100, "per_mebi": 640}}, mixed) as made:
        (outcome,) = outcomes(made, [64])
        assert isinstance(outcome, Timing)
        assert outcome.time_us == pytest.approx(100 + 0.75 * 640 / 1024 + 0.25 * 40, rel=0.01)
        assert outcome.facts["rotated_l2_sizes"] >= 2  # at every shape
        (confirmed,) = made.confirm([config(64)])
        assert isinstance(confirmed, Timing)
        assert confirmed.time_us == pytest.approx(outcome.time_us, rel=0.01)


def test_a_fault_while_one_of_several_shapes_is_timed_costs_one_trial() -> None:
    mixed = Problem.of(KERNEL, dict(DYNAMIC.dims), timed=[Timed({"N": 1 << 10}), Timed({"N": 1 << 16})])
    with backend({64: {"us": 100, "late": "CUDA_ERROR_MISALIGNED_ADDRESS"}, 128: {"us": 90}}, mixed) as made:
        bad, good = outcomes(made, [64, 128])
        assert isinstance(bad, Failure)
        assert isinstance(good, Timing)


def test_tactics_of_one_program_are_measured_once() -> None:
    """Neither a parameter that the compiler ignores nor one that only a later launch reads costs time on the GPU."""
    same = {"us": 130}
    with backend({64: same, 96: {"us": 120}}) as made:
        first, again, other = (
            made.begin({"BLOCK_SIZE": b, "num_warps": w}).result() for b, w in ((64, 2), (64, 4), (96, 2))
        )
        assert isinstance(first, Timing) and isinstance(again, Timing) and isinstance(other, Timing)
        assert again.samples_us == first.samples_us and other.samples_us != first.samples_us
        assert (first.facts.get("measured_before"), again.facts.get("measured_before")) == (None, 1.0)
        confirmed = made.confirm([{"BLOCK_SIZE": 64, "num_warps": w} for w in (2, 4)])
        assert confirmed[0] == confirmed[1]


def test_another_problem_takes_the_processes_over_and_finds_their_memory_free() -> None:
    equipment = equip([GPU], [FakeBench], FakeCompiler({64: {"us": 130}}), (FakeBench, 1))
    found = []
    for size in (1 << 16, 1 << 17):
        made = CudaBackend(Problem.of(KERNEL, {"N": size}), equipment)
        outcome = made.begin(config(64)).result()
        assert isinstance(outcome, Timing)
        found.append(equipment.stations[0].call(10, FakeBench.identity))
        made.close()
        assert equipment.stations[0].call(10, FakeBench.identity) == (found[-1][0], 0)
    equipment.close()
    assert found[0] == found[1] and found[0][1] == 1
