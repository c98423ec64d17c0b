"""What samples say: the interval of a median, and which of two tactics is faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

from tuner.backends.timing.plan import CONFIRMATION, Confirmation

Relation: TypeAlias = Literal["faster", "slower", "tied", "open"]


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
