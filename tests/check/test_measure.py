"""Old and new code in turns on a simulated GPU, in real processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from fake_bench import FakeBench

from tuner import Problem
from tuner.backends.timing.plan import Confirmation
from tuner.backends.timing.statistics import Relation
from tuner.check.measure import Comparison, FaultyError, Gpu, RecordedCode, compare_codes
from tuner.check.time_rule import judge
from tuner.compile.artifact import Loadable
from tuner.gpu.conditions import Conditions
from tuner.gpu.present import DeviceInfo
from tuner.kernel.loader import load_kernel
from tuner.outcome import FailureClass

INFO = DeviceInfo(0, "Simulated", "GPU-0", (9, 0), 132, 1 << 20, (13, 0))
PROBLEM = Problem.of(load_kernel("increment.py", Path(__file__).parents[2] / "kernels"), {"N": 1 << 16})
CONFIG = {"BLOCK_SIZE": 256, "num_warps": 2}
PLAN = Confirmation(margin=0.03, max_rounds=40, warmup_us=2_000)


def conditions(sm_mhz: float = 1980, throttle: tuple[str, ...] = ()) -> Conditions:
    return Conditions(sm_mhz=sm_mhz, memory_mhz=3201, temperature_c=40, power_w=500, throttle=throttle)


def code(us: float, **fault: Any) -> Loadable:
    """What the simulated device takes for PTX."""
    return Loadable(json.dumps({"us": us, **fault}), "increment", (64, 1, 1), 0)


def compare(
    old: Loadable, new: Loadable, said: Sequence[Conditions | None] = (conditions(),), turned: bool = False
) -> Comparison:
    """Compare on a device whose conditions after one batch and the next are as said, again and again."""
    answers = cycle(said)
    gpu = Gpu(INFO, FakeBench, lambda: next(answers), PLAN)
    return compare_codes(gpu, PROBLEM, CONFIG, [RecordedCode(old, (256, 1, 1), (1 << 16,))], [new], 0, turned)


@pytest.mark.parametrize(
    ("us", "turned", "time", "slower"),
    [
        (101, False, "tied", False),
        (80, True, "faster", False),
        (110, False, "slower", True),
        (110, True, "slower", True),
    ],
)
def test_codes_are_told_apart_beyond_the_margin_only(us: float, turned: bool, time: Relation, slower: bool) -> None:
    found = compare(code(100), code(us), turned=turned)
    assert (found.time, found.cycles, found.slower) == (time, time, slower)
    assert found.low <= us / 100 <= found.high
    assert found.recorded_us == pytest.approx(100, rel=0.02)
    assert found.today_us == pytest.approx(us, rel=0.02)


def test_code_that_ran_at_a_lower_clock_is_not_slower() -> None:
    found = compare(code(100), code(110), [conditions(1980), conditions(1800)])
    assert (found.time, found.cycles, found.slower) == ("slower", "tied", False)
    assert judge([found], 0.03)[0] == "inconclusive"


@pytest.mark.parametrize("said", [None, conditions(float("nan"))])
def test_without_a_clock_nothing_is_called_slower(said: Conditions | None) -> None:
    found = compare(code(100), code(110), [said])
    assert (found.time, found.cycles, found.slower) == ("slower", None, False)
    verdict, why = judge([found], 0.03)
    assert verdict == "inconclusive" and "clock cannot be read" in why


def test_on_a_throttled_device_nothing_is_called_slower() -> None:
    found = compare(code(100), code(110), [conditions(throttle=("power cap",))])
    assert found.throttled and not found.slower
    verdict, why = judge([found], 0.03)
    assert verdict == "inconclusive" and "throttled" in why


def test_faults_say_whose_they_are() -> None:
    with pytest.raises(FaultyError) as wrong:
        compare(code(100), code(100, fault="wrong"))
    assert (wrong.value.side, wrong.value.failure.kind) == ("today's", FailureClass.CORRECTNESS)
    with pytest.raises(FaultyError) as crash:
        compare(code(100), code(100, late="crash"))
    assert (crash.value.side, crash.value.failure.kind) == ("today's", FailureClass.RUNTIME)
    with pytest.raises(FaultyError) as old:
        compare(code(100, fault="wrong"), code(100))
    assert old.value.side == "recorded"


def compared(time: Relation, cycles: Relation | None = "slower") -> Comparison:
    return Comparison(100.0, 110.0, 1.09, 1.11, time, cycles, False)


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ([compared("tied", "tied")], "pass"),
        ([compared("faster", "slower")], "pass"),
        ([compared("open", "open")], "inconclusive"),
        ([compared("slower"), compared("slower")], "regression"),
        ([compared("slower"), compared("tied", "tied")], "inconclusive"),
        ([compared("slower"), compared("open")], "inconclusive"),
        ([compared("slower"), compared("slower", "open")], "inconclusive"),
    ],
)
def test_a_regression_is_what_two_processes_agree_on(runs: list[Comparison], verdict: str) -> None:
    assert judge(runs, 0.03)[0] == verdict
