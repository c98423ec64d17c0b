"""How long a tactic takes, and which of two is faster: sampling, stopping and comparing.

The method, and where its parts come from:

*Batches.* A sample is the time of a batch of launches divided by their number, because a device
timer resolves about half a microsecond. The statistic is the median, and every sample is kept, the
outliers too: they are data about the machine (Hoefler and Belli, "Scientific Benchmarking of
Parallel Computing Systems", SC15, rules 4 to 7).

*Screening* is short, and stops by itself. A tactic whose first launches take three times as long as
the incumbent is not measured further. The others warm up until late batches agree with early ones,
and are sampled until the interval of the median is narrow enough, between a floor and a ceiling of time (as NVBench
stops on noise, within a minimum and a timeout). The interval is the distribution-free one by order
statistics (David and Nagaraja, "Order Statistics", 3rd ed., section 7.1).

*Confirming* compares finalists with each other. Clocks and temperature drift over seconds by more
than finalists differ, so a round runs one batch of each, in an order that changes from round to
round, and only differences within a round are compared (randomised blocks). The difference of two
tactics is the Hodges-Lehmann estimate of the logarithm of their ratio, with the exact interval of
the signed-rank test (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 3rd ed.,
section 3.3). A pair is settled when its interval lies beyond the margin of equivalence, tied when
it lies within (two one-sided tests, Schuirmann 1987), and open otherwise. Whoever is settled to be
slower than the leader drops out (as in a race, Maron and Moore 1994). Rounds are added until nobody
is open. Each look tests at `alpha`, small enough that all looks at all pairs together stay below 1 %.

*Conditions* (clocks, temperature, power, throttling) are read once per round. A throttled round is
discarded and counted, until throttling proves to be the machine's steady state.

What the method does not cover: samples close in time are correlated, so the interval of a screening
is too narrow to compare two screenings with; `indistinct` adds a margin for that, and the comparison
itself is left to the confirmation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Literal, Protocol, TypeAlias

Stop: TypeAlias = Literal["precise", "slow", "ceiling"]
Relation: TypeAlias = Literal["faster", "slower", "tied", "open"]


class Sampler(Protocol):
    """A tactic that is ready to be launched.

    Attributes:
        step: how many launches go together; `run` takes multiples of it.
    """

    step: int

    def run(self, launches: int) -> float:
        """Launch back to back and return the microseconds of device time from first to last."""


@dataclass(frozen=True)
class Conditions:
    """The state of the device during a round.

    Attributes:
        sm_mhz, memory_mhz: current clocks.
        temperature_c: of the GPU, in degrees Celsius.
        power_w: drawn by the board.
        throttle: why clocks are lower than they could be; empty when they are not.
    """

    sm_mhz: float
    memory_mhz: float
    temperature_c: float
    power_w: float
    throttle: tuple[str, ...] = ()


Probe: TypeAlias = Callable[[], Conditions | None]
"""Reads the conditions; None where the machine does not tell."""


def unknown() -> None:
    """The probe of a machine that does not tell its conditions."""


@dataclass(frozen=True)
class Screening:
    """How a tactic is timed on its own.

    Attributes:
        hopeless: stop after the first launches when they take this many times the incumbent...
        start_us: ...and this much more, which a batch spends on starting.
        batch_us: device time of one batch; 0.1 % of it is the resolution of a device timer.
        batches: batches in a round.
        stable: relative change from early to late batches at which the device counts as warm.
        warmup_us: longest warm-up.
        half_width: relative half-width of the median's interval that is narrow enough.
        confidence: of that interval.
        floor_us, ceiling_us: shortest and longest device time spent on samples.
        patience: throttled rounds after which throttling is taken for the steady state.
    """

    hopeless: float = 3.0
    start_us: float = 10.0
    batch_us: float = 500.0
    batches: int = 4
    stable: float = 0.01
    warmup_us: float = 50_000.0
    half_width: float = 0.005
    confidence: float = 0.95
    floor_us: float = 4_000.0
    ceiling_us: float = 40_000.0
    patience: int = 8


@dataclass(frozen=True)
class Confirmation:
    """How finalists are timed against each other.

    Attributes:
        margin: relative difference below which two tactics count as equally fast.
        alpha: probability of a wrong interval at one look at one pair.
        batch_us: device time of one batch.
        first_look: rounds before the first look; fewer could not reach `alpha`.
        growth: how many times the rounds of a look the next one has.
        max_rounds: rounds after which what is still open stays open.
        stable: relative change from early to late rounds at which the device counts as warm.
        warmup_us: longest warm-up.
        ceiling_us: longest device time spent on samples.
        patience: throttled rounds after which throttling is taken for the steady state.
    """

    margin: float = 0.005
    alpha: float = 1e-4
    batch_us: float = 1_000.0
    first_look: int = 16
    growth: float = 1.5
    max_rounds: int = 256
    stable: float = 0.005
    warmup_us: float = 300_000.0
    ceiling_us: float = 3_000_000.0
    patience: int = 16


SCREENING = Screening()
CONFIRMATION = Confirmation()


@dataclass(frozen=True)
class Series:
    """The samples of one tactic.

    Attributes:
        samples_us: microseconds per launch, one per batch, in the order taken, outliers included.
        launches: launches per sample.
        stopped: "precise" enough (or settled), clearly too "slow", or at the "ceiling".
        discarded: rounds that were thrown away because the device was throttled.
        throttled: rounds that were kept although it was.
        conditions: read after each round that was kept.
    """

    samples_us: tuple[float, ...]
    launches: int
    stopped: Stop
    discarded: int = 0
    throttled: int = 0
    conditions: tuple[Conditions, ...] = ()

    @property
    def median_us(self) -> float:
        return median(self.samples_us)

    def half_width(self, confidence: float = SCREENING.confidence) -> float:
        """Half the interval of the median, relative to it; infinite for too few samples."""
        low, high = median_interval(self.samples_us, confidence)
        return (high - low) / 2 / self.median_us


def screen(
    sampler: Sampler, incumbent_us: float | None = None, plan: Screening = SCREENING, probe: Probe = unknown
) -> Series:
    """Time one tactic on its own.

    Args:
        sampler: the tactic.
        incumbent_us: the best time so far in microseconds; None while there is none.
        plan: how long and how precisely.
        probe: reads the conditions of the device.
    """
    step = sampler.step
    first = [sampler.run(step) / step]
    if incumbent_us is not None:
        hopeless_us = plan.hopeless * incumbent_us + plan.start_us / step
        while first[-1] > hopeless_us and len(first) < 3:
            first.append(sampler.run(step) / step)
        if min(first) > hopeless_us:
            return Series(tuple(first), step, "slow")
    launches = _launches(plan.batch_us, min(first), step)
    _warm_up(lambda: sampler.run(launches), plan.stable, plan.warmup_us)

    rounds = _Rounds(probe, plan.patience)
    samples: list[float] = []
    spent_us = 0.0
    while True:
        batch = [sampler.run(launches) / launches for _ in range(plan.batches)]
        spent_us += sum(batch) * launches
        if rounds.keep():
            samples.extend(batch)
        series = rounds.series(samples, launches, "precise")
        if samples and spent_us >= plan.floor_us and series.half_width(plan.confidence) <= plan.half_width:
            return series
        if samples and spent_us >= plan.ceiling_us:
            return rounds.series(samples, launches, "ceiling")


def confirm(
    samplers: Sequence[Sampler], plan: Confirmation = CONFIRMATION, probe: Probe = unknown
) -> tuple[Series, ...]:
    """Time finalists against each other, round by round.

    Sample `r` of every series comes from the same round, so that `relation` may pair them. A series
    is shorter where its tactic dropped out.

    Args:
        samplers: the finalists, at least one.
        plan: how long and how precisely.
        probe: reads the conditions of the device.
    """
    launches = [_launches(plan.batch_us, s.run(s.step) / s.step, s.step) for s in samplers]

    def run(i: int) -> float:
        return samplers[i].run(launches[i]) / launches[i]

    everyone = range(len(samplers))
    _warm_up(lambda: sum(samplers[i].run(launches[i]) for i in everyone), plan.stable, plan.warmup_us)

    rounds = _Rounds(probe, plan.patience)
    samples: list[list[float]] = [[] for _ in samplers]
    active = list(everyone)
    stopped: Stop = "ceiling"
    look, spent_us, turn = plan.first_look, 0.0, 0
    while rounds.kept < plan.max_rounds and spent_us < plan.ceiling_us:
        order = _order(active, turn)
        times = {i: run(i) for i in order}
        turn += 1
        spent_us += sum(times[i] * launches[i] for i in order)
        if not rounds.keep():
            continue
        for i in active:
            samples[i].append(times[i])
        if rounds.kept == look:
            look = math.ceil(look * plan.growth)
            leader = min(active, key=lambda i: median(samples[i]))
            relations = {i: relation(samples[i], samples[leader], plan) for i in active if i != leader}
            active = [i for i in active if relations.get(i) != "slower"]
            if "open" not in relations.values():
                stopped = "precise"
                break
    return tuple(rounds.series(s, n, stopped) for s, n in zip(samples, launches, strict=True))


def relation(a_us: Sequence[float], b_us: Sequence[float], plan: Confirmation = CONFIRMATION) -> Relation:
    """What one tactic is to another, by the samples of the rounds in which both took part.

    Args:
        a_us, b_us: samples of `confirm`, in the order taken.
        plan: the margin and the level.

    Returns:
        "faster" or "slower" when `a` is so by more than the margin, "tied" when they differ by less,
        "open" when there are too few rounds to tell.
    """
    low, high = log_ratio_interval(a_us, b_us, plan.alpha)
    margin = math.log1p(plan.margin)
    if low > margin:
        return "slower"
    if high < -margin:
        return "faster"
    return "tied" if -margin <= low and high <= margin else "open"


def indistinct(a_us: float, b_us: float, half_widths: float, noise: float = 0.02) -> bool:
    """Whether two tactics that were screened apart from each other may be equally fast.

    Args:
        a_us, b_us: screened medians.
        half_widths: the relative half-widths of their intervals, added up.
        noise: how far apart two screenings of one tactic may be, because clocks moved in between.
    """
    return abs(a_us - b_us) <= (noise + half_widths) * min(a_us, b_us)


def launch_bound(time_us: float, empty_us: float) -> bool:
    """Whether a tactic takes less than three times as long as launching a kernel that does nothing.

    The smallest kernel that loads and stores takes two to three times as long as an empty one: a round
    trip to memory or the L2, which no tactic avoids.
    """
    return time_us < 3 * empty_us


def median_interval(samples: Sequence[float], confidence: float) -> tuple[float, float]:
    """A distribution-free interval of the median by order statistics; infinite for too few samples."""
    rank = _median_rank(len(samples), confidence)
    if rank < 0:
        return -math.inf, math.inf
    ordered = sorted(samples)
    return ordered[rank], ordered[-1 - rank]


def log_ratio_interval(a: Sequence[float], b: Sequence[float], alpha: float) -> tuple[float, float]:
    """The exact signed-rank interval, at level 1 - alpha, of log(a / b) over pairs."""
    import numpy as np

    n = min(len(a), len(b))
    rank = _signed_rank(n, alpha)
    if rank < 0:
        return -math.inf, math.inf
    ratio = np.log(np.asarray(a[:n])) - np.log(np.asarray(b[:n]))
    i, j = np.triu_indices(n)
    walsh = np.sort((ratio[i] + ratio[j]) / 2)
    return float(walsh[rank]), float(walsh[-1 - rank])


@lru_cache(maxsize=1024)
def _median_rank(n: int, confidence: float) -> int:
    """The largest r for which [x_(r), x_(n-1-r)], counted from 0, covers the median; -1 for none."""
    tail, rank = 0.0, -1
    for k in range(n):
        tail += math.comb(n, k) / 2**n
        if tail > (1 - confidence) / 2:
            break
        rank = k
    return rank


@lru_cache(maxsize=1024)
def _signed_rank(n: int, alpha: float) -> int:
    """The largest c with P(W <= c) <= alpha / 2 for Wilcoxon's statistic W of n pairs; -1 for none."""
    import numpy as np

    probability = np.zeros(n * (n + 1) // 2 + 1)
    probability[0] = 1.0
    for k in range(1, n + 1):
        shifted = np.zeros_like(probability)
        shifted[k:] = probability[:-k]
        probability = (probability + shifted) / 2
    return int(np.searchsorted(np.cumsum(probability), alpha / 2, side="right")) - 1


def _launches(batch_us: float, launch_us: float, step: int) -> int:
    """How many launches fill a batch, in whole steps."""
    return step * max(1, math.ceil(batch_us / (launch_us * step)))


def _order(active: Sequence[int], turn: int) -> list[int]:
    """Rotated by one each turn and reversed every other, so that places and neighbours change."""
    start = turn % len(active)
    order = [*active[start:], *active[:start]]
    return order[::-1] if turn % 2 else order


def _warm_up(run: Callable[[], float], stable: float, longest_us: float) -> None:
    """Run until the time of late runs agrees with that of early ones, or for the longest time allowed.

    A clock can ramp up more slowly than neighbouring runs can show, so the second half of all runs
    is compared with the quarter before it, each time their number has doubled.
    """
    times: list[float] = []
    while sum(times) < longest_us:
        times.append(run())
        n = len(times)
        if n >= 4 and n & (n - 1) == 0:
            early, late = median(times[n // 4 : n // 2]), median(times[n // 2 :])
            if abs(late - early) <= stable * early:
                return


@dataclass
class _Rounds:
    """Which rounds to keep."""

    probe: Probe
    patience: int
    kept: int = 0
    discarded: int = 0
    throttled: int = 0
    conditions: list[Conditions] = field(default_factory=list)

    def keep(self) -> bool:
        """Whether the round that just ended counts."""
        now = self.probe()
        if now is not None and now.throttle:
            if self.discarded < self.patience:
                self.discarded += 1
                return False
            self.throttled += 1
        if now is not None:
            self.conditions.append(now)
        self.kept += 1
        return True

    def series(self, samples: Sequence[float], launches: int, stopped: Stop) -> Series:
        return Series(tuple(samples), launches, stopped, self.discarded, self.throttled, tuple(self.conditions))
