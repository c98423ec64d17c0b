"""Sampling and comparing, on a simulated device: noise, drift, a clock that ramps up, outliers, throttling."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tuner.backends.timing.plan import Confirmation
from tuner.backends.timing.sampling import Timeable, confirm, screen
from tuner.backends.timing.statistics import indistinct, launch_bound, log_ratio_interval, median_interval, relation
from tuner.gpu.conditions import Conditions


@dataclass
class Gpu:
    """Runs at 70 % of its clock at first, drifts, is never faster than it should be, and sometimes much slower."""

    seed: int
    noise: float = 0.005
    drift: float = 0.02
    outliers: float = 0.03
    throttled: range = range(0)
    clock_us: float = 0.0
    wander: float = 0.0
    probes: int = 0
    batches: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def spend(self, busy_us: float) -> float:
        self.clock_us += busy_us
        self.wander += self.random.gauss(0, self.drift) * math.sqrt(busy_us / 1e6)
        ramp = 1 + 0.3 * math.exp(-self.clock_us / 10_000)
        elapsed = busy_us * ramp * (1 + self.wander) * (1 + abs(self.random.gauss(0, self.noise)))
        if self.random.random() < self.outliers:
            elapsed *= 1 + self.random.expovariate(2)
        if self.probes in self.throttled:
            elapsed *= 1.5
        self.batches.append(elapsed)
        return elapsed

    def probe(self) -> Conditions:
        now = self.probes
        self.probes += 1
        throttle = ("power cap",) if now in self.throttled else ()
        return Conditions(sm_mhz=1980, memory_mhz=3201, temperature_c=40, power_w=500, throttle=throttle)


@dataclass
class Tactic:
    gpu: Gpu
    time_us: float
    step: int = 1

    def run(self, launches: int) -> float:
        assert launches % self.step == 0
        return self.gpu.spend(self.time_us * launches)


def pair(seed: int, slowdown: float) -> tuple[str, int]:
    gpu = Gpu(seed)
    a, b = confirm([Tactic(gpu, 130 * (1 + slowdown)), Tactic(gpu, 130.0)])
    return relation(a.samples_us, b.samples_us), len(a.samples_us)


def test_a_tactic_is_called_different_from_itself_in_at_most_one_percent() -> None:
    different = sum(pair(seed, 0.0)[0] in ("faster", "slower") for seed in range(200))
    assert different <= 2


def test_a_slowdown_of_three_percent_is_found_in_at_least_95_percent() -> None:
    found = sum(pair(seed, 0.03)[0] == "slower" for seed in range(200))
    assert found >= 190


def test_a_difference_within_the_margin_is_proven_to_be_a_tie() -> None:
    assert all(pair(seed, 0.001)[0] == "tied" for seed in range(20))


def test_more_rounds_are_taken_for_a_smaller_difference() -> None:
    large, small = (sum(pair(seed, d)[1] for seed in range(20)) for d in (0.05, 0.008))
    assert small > large


def test_many_copies_of_one_tactic_tie() -> None:
    wrong = 0
    for seed in range(20):
        gpu = Gpu(seed)
        series = confirm([Tactic(gpu, 130.0) for _ in range(6)])
        best = min(series, key=lambda s: s.median_us)
        wrong += sum(relation(s.samples_us, best.samples_us) == "slower" for s in series)
    assert wrong <= 1


def test_confirming_orders_finalists_that_one_screening_misorders() -> None:
    def apart(seed: int) -> tuple[float, float]:
        gpu = Gpu(seed, drift=0.3)
        slow, fast = Tactic(gpu, 131.5), Tactic(gpu, 130.0)
        first = screen(slow).median_us
        gpu.spend(500_000)
        return first, screen(fast).median_us

    def together(seed: int) -> str:
        gpu = Gpu(seed, drift=0.3)
        a, b = confirm([Tactic(gpu, 131.5), Tactic(gpu, 130.0)])
        return relation(a.samples_us, b.samples_us)

    assert sum(a < b for a, b in map(apart, range(40))) >= 5
    assert sum(together(seed) == "slower" for seed in range(40)) >= 38


def test_a_tactic_settled_to_be_slower_drops_out_and_keeps_its_samples() -> None:
    gpu = Gpu(1)
    slow, a, b = confirm([Tactic(gpu, 200.0), Tactic(gpu, 130.0), Tactic(gpu, 130.3)])
    assert 16 == len(slow.samples_us) < len(a.samples_us) == len(b.samples_us)


def test_every_finalist_runs_once_per_round_in_changing_order() -> None:
    order: list[int] = []

    @dataclass
    class Recorder:
        name: int
        step: int = 1

        def run(self, launches: int) -> float:
            order.append(self.name)
            return 100.0 * launches

    plan = Confirmation(first_look=16, warmup_us=0)
    confirm([Recorder(i) for i in range(3)], plan)  # without warm-up, after one launch of each
    rounds = [tuple(order[i : i + 3]) for i in range(3, len(order), 3)]
    assert all(sorted(r) == [0, 1, 2] for r in rounds)
    assert {r[0] for r in rounds} == {0, 1, 2}
    assert len({(a, b) for r in rounds for a, b in pairwise(r)}) == 6


def test_throttled_rounds_are_discarded_and_counted() -> None:
    gpu = Gpu(3, throttled=range(2, 7))
    a, b = confirm([Tactic(gpu, 130.0), Tactic(gpu, 130.0)], probe=gpu.probe)
    assert (a.discarded, a.throttled) == (5, 0)
    assert len(a.conditions) == len(a.samples_us) == len(b.samples_us)
    assert not any(c.throttle for c in a.conditions)


def test_throttling_without_end_is_the_steady_state() -> None:
    gpu = Gpu(3, throttled=range(10**6))
    series = screen(Tactic(gpu, 130.0), probe=gpu.probe)
    assert series.discarded == 8
    assert series.throttled == len(series.conditions) > 0


def test_screening_gives_up_at_once_on_a_tactic_three_times_slower_than_the_incumbent() -> None:
    gpu = Gpu(4)
    series = screen(Tactic(gpu, 1000.0), incumbent_us=130.0)
    assert series.stopped == "slow"
    assert len(gpu.batches) <= 3


def test_one_slow_launch_does_not_condemn_a_tactic() -> None:
    @dataclass
    class Hiccup:
        step: int = 1
        calls: int = 0

        def run(self, launches: int) -> float:
            self.calls += 1
            return 130.0 * launches * (20 if self.calls == 1 else 1)

    assert screen(Hiccup(), incumbent_us=130.0).median_us == 130.0


def test_screening_waits_for_the_clock() -> None:
    gpu = Gpu(5, noise=0.0005, drift=0, outliers=0)
    assert screen(Tactic(gpu, 130.0)).median_us == pytest.approx(130, rel=0.02)


def test_screening_stops_early_when_quiet_and_at_the_ceiling_when_noisy() -> None:
    quiet, noisy = Gpu(6, noise=1e-4, outliers=0, drift=0), Gpu(6, noise=0.5)
    assert screen(Tactic(quiet, 130.0)).stopped == "precise"
    assert screen(Tactic(noisy, 130.0)).stopped == "ceiling"
    assert quiet.clock_us < noisy.clock_us < 150_000


def test_outliers_stay_in_the_samples_and_out_of_the_statistic() -> None:
    gpu = Gpu(7, noise=0.001, drift=0, outliers=0.2)
    gpu.clock_us = 1e6
    series = screen(Tactic(gpu, 130.0))
    assert max(series.samples_us) > 1.1 * 130
    assert series.median_us == pytest.approx(130, rel=0.01)


def test_launches_come_in_whole_steps() -> None:
    gpu = Gpu(8)
    sampler: Timeable = Tactic(gpu, 2.0, step=48)
    assert screen(sampler).launches % 48 == 0
    assert all(s.launches % 48 == 0 for s in confirm([sampler, Tactic(gpu, 2.0, step=48)]))


def test_the_median_interval_covers_as_often_as_it_says() -> None:
    rng = random.Random(0)
    covered = 0
    for _ in range(1000):
        low, high = median_interval([rng.expovariate(1) for _ in range(15)], 0.95)
        covered += low <= math.log(2) <= high
    assert covered >= 950
    assert median_interval([1.0] * 5, 0.95) == (-math.inf, math.inf)
    assert median_interval([1, 2, 3, 4, 5, 6], 0.95) == (1, 6)


def test_the_ratio_interval_is_the_signed_rank_one() -> None:
    low, high = log_ratio_interval([math.exp(x) for x in (1, 2, 3, 4, 5, 6)], [1.0] * 6, 0.05)
    assert (low, high) == pytest.approx((1, 6))  # with 6 pairs only the extremes reach 2 / 2**6 <= 0.05
    rng = random.Random(0)
    covered = 0
    for _ in range(500):
        b = [rng.lognormvariate(0, 0.2) for _ in range(20)]
        a = [x * rng.lognormvariate(0.01, 0.05) for x in b]
        low, high = log_ratio_interval(a, b, 0.05)
        covered += low <= 0.01 <= high
    assert 460 <= covered <= 495
    assert log_ratio_interval([1.0] * 14, [1.0] * 14, 1e-4) == (-math.inf, math.inf)


def test_relation_is_antisymmetric() -> None:
    fast, slow = [100.0] * 20, [103.0] * 20
    assert (relation(slow, fast), relation(fast, slow), relation(fast, fast)) == ("slower", "faster", "tied")
    assert relation(slow[:10], fast[:10]) == "open"


@pytest.mark.parametrize(
    ("a", "b", "half_widths", "same"), [(100, 101.9, 0, True), (100, 103, 0, False), (103, 100, 0.02, True)]
)
def test_screened_times_are_indistinct_within_noise_and_their_own_width(
    a: float, b: float, half_widths: float, same: bool
) -> None:
    assert indistinct(a, b, half_widths) is same


def test_a_kernel_as_short_as_an_empty_one_is_launch_bound() -> None:
    assert launch_bound(3.0, empty_us=1.8)
    assert not launch_bound(126.3, empty_us=1.8)


def test_conditions_read_after_each_batch_belong_to_its_sample() -> None:
    gpu = Gpu(0, throttled=range(1000, 1001))
    clocks = iter(range(100_000))

    def probe() -> Conditions:
        return Conditions(sm_mhz=next(clocks), memory_mhz=0, temperature_c=0, power_w=0)

    a, b = confirm([Tactic(gpu, 130.0), Tactic(gpu, 130.0)], probe=probe, each_batch=True)
    for series in (a, b):
        assert len(series.conditions) == len(series.samples_us)
    read = [sorted((x.sm_mhz, y.sm_mhz)) for x, y in zip(a.conditions, b.conditions, strict=True)]
    assert read == [[2 * i, 2 * i + 1] for i in range(len(read))]


def test_a_round_is_thrown_away_when_any_of_its_batches_was_throttled() -> None:
    hot = iter(i < 40 and i % 8 == 1 for i in range(100_000))

    def probe() -> Conditions:
        throttle = ("power cap",) if next(hot) else ()
        return Conditions(sm_mhz=1, memory_mhz=0, temperature_c=0, power_w=0, throttle=throttle)

    a, b = confirm([Tactic(Gpu(0), 130.0), Tactic(Gpu(1), 130.0)], probe=probe, each_batch=True)
    assert a.discarded == b.discarded == 5
    assert not any(c.throttle for c in (*a.conditions, *b.conditions))
