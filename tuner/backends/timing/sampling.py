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
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol, TypeAlias

from tuner.backends.timing.plan import CONFIRMATION, SCREENING, Confirmation, Screening
from tuner.backends.timing.statistics import median_interval, relation
from tuner.gpu.conditions import Conditions, Probe, unknown

Stop: TypeAlias = Literal["precise", "slow", "ceiling"]


class Timeable(Protocol):
    """A tactic that is ready to be launched.

    Attributes:
        step: how many launches go together; `run` takes multiples of it.
    """

    step: int

    def run(self, launches: int) -> float:
        """Launch back to back and return the microseconds of device time from first to last."""


@dataclass(frozen=True)
class Series:
    """The samples of one tactic.

    Attributes:
        samples_us: microseconds per launch, one per batch, in the order taken, outliers included.
        launches: launches per sample.
        stopped: "precise" enough (or settled), clearly too "slow", or at the "ceiling".
        discarded: rounds that were thrown away because the device was throttled.
        throttled: rounds that were kept although it was.
        conditions: read after each round that was kept, or in `confirm` after each sample.
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
    sampler: Timeable, incumbent_us: float | None = None, plan: Screening = SCREENING, probe: Probe = unknown
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

    rounds = _Rounds(plan.patience)
    samples: list[float] = []
    conditions: list[Conditions] = []
    spent_us = 0.0
    while True:
        batch = [sampler.run(launches) / launches for _ in range(plan.batches)]
        spent_us += sum(batch) * launches
        now = probe()
        if rounds.keep(now):
            samples.extend(batch)
            conditions += [now] if now is not None else []
        series = rounds.series(samples, launches, "precise", conditions)
        if samples and spent_us >= plan.floor_us and series.half_width(plan.confidence) <= plan.half_width:
            return series
        if samples and spent_us >= plan.ceiling_us:
            return rounds.series(samples, launches, "ceiling", conditions)


def confirm(
    samplers: Sequence[Timeable],
    plan: Confirmation = CONFIRMATION,
    probe: Probe = unknown,
    each_batch: bool = False,
) -> tuple[Series, ...]:
    """Time finalists against each other, round by round.

    Sample `r` of every series comes from the same round, so that `relation` may pair them. A series
    is shorter where its tactic dropped out.

    Args:
        samplers: the finalists, at least one.
        plan: how long and how precisely.
        probe: reads the conditions of the device.
        each_batch: whether to read them after each batch, for the series of that batch alone, rather than once a
            round, for all: condition `r` of a series is then of its sample `r`, where the machine tells them.
    """
    launches = [_launches(plan.batch_us, s.run(s.step) / s.step, s.step) for s in samplers]

    def run(i: int) -> float:
        return samplers[i].run(launches[i]) / launches[i]

    everyone = range(len(samplers))
    _warm_up(lambda: sum(samplers[i].run(launches[i]) for i in everyone), plan.stable, plan.warmup_us)

    rounds = _Rounds(plan.patience)
    samples: list[list[float]] = [[] for _ in samplers]
    conditions: list[list[Conditions]] = [[] for _ in samplers]
    active = list(everyone)
    stopped: Stop = "ceiling"
    look, spent_us, turn = plan.first_look, 0.0, 0
    while rounds.kept < plan.max_rounds and spent_us < plan.ceiling_us:
        order = _order(active, turn)
        times: dict[int, float] = {}
        read: dict[int, Conditions | None] = {}
        for i in order:
            times[i] = run(i)
            if each_batch:
                read[i] = probe()
        if not each_batch:
            read = dict.fromkeys(order, probe())
        turn += 1
        spent_us += sum(times[i] * launches[i] for i in order)
        if not rounds.keep(*read.values()):
            continue
        for i in active:
            samples[i].append(times[i])
            now = read[i]
            conditions[i] += [now] if now is not None else []
        if rounds.kept == look:
            look = math.ceil(look * plan.growth)
            leader = min(active, key=lambda i: median(samples[i]))
            relations = {i: relation(samples[i], samples[leader], plan) for i in active if i != leader}
            active = [i for i in active if relations.get(i) != "slower"]
            if "open" not in relations.values():
                stopped = "precise"
                break
    everything = zip(samples, launches, conditions, strict=True)
    return tuple(rounds.series(s, n, stopped, c) for s, n, c in everything)


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

    patience: int
    kept: int = 0
    discarded: int = 0
    throttled: int = 0

    def keep(self, *read: Conditions | None) -> bool:
        """Whether the round that just ended counts, by the conditions read in it."""
        if any(now is not None and now.throttle for now in read):
            if self.discarded < self.patience:
                self.discarded += 1
                return False
            self.throttled += 1
        self.kept += 1
        return True

    def series(
        self, samples: Sequence[float], launches: int, stopped: Stop, conditions: Sequence[Conditions]
    ) -> Series:
        return Series(tuple(samples), launches, stopped, self.discarded, self.throttled, tuple(conditions))
