"""How long, and how precisely, tactics are timed."""

from __future__ import annotations

from dataclasses import dataclass


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
