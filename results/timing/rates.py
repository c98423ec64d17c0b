"""How often the confirmation calls equal tactics different, and misses a slower one, by simulation.

    python results/timing/rates.py --out results/timing [--pairs 1000]

The simulated GPU starts at 70 % of its clock, drifts, never runs faster than it should, and now and
then runs much slower. Every pair has a seed of its own, so the numbers are the same again.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Arguments, write

from tuner.backends.timing.sampling import confirm
from tuner.backends.timing.statistics import relation


class Gpu:
    """Device time with noise (relative, one-sided), drift (relative, per root second) and outliers."""

    def __init__(self, seed: int, noise: float, drift: float, outliers: float) -> None:
        self._random = random.Random(seed)
        self._noise, self._drift, self._outliers = noise, drift, outliers
        self._clock_us = self._wander = 0.0

    def spend(self, busy_us: float) -> float:
        self._clock_us += busy_us
        self._wander += self._random.gauss(0, self._drift) * math.sqrt(busy_us / 1e6)
        ramp = 1 + 0.3 * math.exp(-self._clock_us / 10_000)
        elapsed = busy_us * ramp * (1 + self._wander) * (1 + abs(self._random.gauss(0, self._noise)))
        if self._random.random() < self._outliers:
            elapsed *= 1 + self._random.expovariate(2)
        return elapsed


class Tactic:
    """A sampler on a simulated GPU."""

    step = 1

    def __init__(self, gpu: Gpu, time_us: float) -> None:
        self._gpu, self._time_us = gpu, time_us

    def run(self, launches: int) -> float:
        return self._gpu.spend(self._time_us * launches)


def rates(pairs: int, slowdown: float, noise: float, drift: float, outliers: float) -> dict[str, float]:
    """Confirm pairs of tactics, the first of which is slower by `slowdown`."""
    found: Counter[str] = Counter()
    rounds = 0
    for seed in range(pairs):
        gpu = Gpu(seed, noise, drift, outliers)
        a, b = confirm([Tactic(gpu, 130.0 * (1 + slowdown)), Tactic(gpu, 130.0)])
        found[relation(a.samples_us, b.samples_us)] += 1
        rounds += len(a.samples_us)
    shares = {r: found[r] / pairs for r in ("slower", "faster", "tied", "open")}
    settings = {"slowdown": slowdown, "noise": noise, "drift": drift, "outliers": outliers}
    return {**settings, "pairs": pairs, **shares, "mean_rounds": rounds / pairs}


def main() -> None:
    arguments = Arguments(__doc__)
    arguments.add_argument("--pairs", type=int, default=1000)
    given = arguments.read()
    pairs = 2 if given.dry else given.pairs
    machines = {"quiet": (0.001, 0.005, 0.01), "usual": (0.005, 0.02, 0.03), "noisy": (0.02, 0.1, 0.1)}
    rows = []
    for machine, (noise, drift, outliers) in machines.items():
        for slowdown in (0.0, 0.002, 0.005, 0.007, 0.01, 0.03):
            row = {"machine": machine, **rates(pairs, slowdown, noise, drift, outliers)}
            rows.append(row)
            print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))
    write(given.out / "rates.json", rows)


if __name__ == "__main__":
    main()
