"""Bayesian optimisation: model the times seen so far, try what promises the largest improvement.

Made for what tuning tables look like: few trials, parameters that act by their ratios and not alone,
times that spread over two orders of magnitude of which only the lower end matters, and failures.
The constants were chosen on recorded and synthetic tables together (see results/search).
"""

from __future__ import annotations

import math

import numpy as np
from threadpoolctl import ThreadpoolController

from tuner.search.base import PointSampler
from tuner.search.gp import Array, Features, Hyperparameters, Posterior
from tuner.search.points import Point, Points

START = 8  # trials spread over the space before the model is asked
SPREAD = 64  # random points of which the one farthest from all others is taken at the start
POOL = 200  # random points that are always candidates …
FRESH = 4  # … of which this many are drawn anew for each trial
BEST = 5  # fastest points whose neighbours are candidates
LEAPS = 100  # candidates two or three parameters away from the fastest points
STEPS = 3  # changes to the hyperparameters that are tried in each trial
OCTAVES = 3  # shapes so many doublings apart are as far from each other as the ends of a parameter
OTHERS = 80  # observations at other shapes that the model is shown at most
REMEMBERED = 160  # observations the model keeps at most; its cost grows with their cube


class BayesianSearch(PointSampler):
    """Expected improvement of log time under a Gaussian process, over neighbours and random points.

    Points that are running count as observed at their predicted time, which spreads a batch. What was found at
    other shapes is shown to the model with the distance of their shape as further features (the contextual
    bandits of Krause and Ong, "Contextual Gaussian Process Bandit Optimization", NeurIPS 2011).

    Attributes:
        promise: the gain in log time that was expected of the last proposal; None where the model was not asked.
    """

    def __init__(self, points: Points, seed: int) -> None:
        super().__init__(points, seed)
        self._features = Features(points.space)
        count = int(self._features.owners[-1]) + 1 if len(self._features.owners) else 0
        context = len(points.elsewhere[0].offset) if points.elsewhere else 0
        self._here = np.zeros(context)
        self._owners = np.append(self._features.owners, np.arange(count, count + context))
        count += context
        self._prior = Hyperparameters(np.full(count, math.log(0.25 * math.sqrt(max(count, 1)))), math.log(1e-2))
        self._hyper = self._prior
        self._pool: list[Point] = []
        self._free = [i for i, width in enumerate(points.widths) if width > 1]
        self._threads = ThreadpoolController()
        self.promise: float | None = None
        self._scale = 1.0

    def propose(self) -> Point:
        # One thread: the matrices are small, compilers want the other cores, and sums come out the same anywhere.
        with self._threads.limit(limits=1, user_api="blas"):
            return self._propose()

    def _propose(self) -> Point:
        self.promise = None
        others = self._others()
        if not any(self.times.values()) or (len(self.points.taken) < START and not others):
            return self._far_from_all()
        model, best = self._fit(others)
        running = sorted(p for p in self.points.taken if p not in self.times)
        if running:
            model = model.believing(self._rows(running, self._here))
        candidates = self._candidates()
        mean, deviation = model.predict(self._rows(candidates, self._here))
        gains = expected_improvement(mean, deviation, best)
        chosen = int(np.argmax(gains))
        self.promise = float(gains[chosen]) * self._scale
        return candidates[chosen]

    def _rows(self, points: list[Point], offset: Array) -> Array:
        """The features of points at a shape."""
        return np.hstack([self._features(points), np.tile(offset, (len(points), 1))])

    def _others(self) -> list[tuple[Point, Array, float]]:
        """Points at other shapes, the offset of their shape, and the logarithm of the time expected of them here.

        A shape's times are put on the scale of this one's by the tactics that were timed at both.
        """
        found: list[tuple[Point, Array, float]] = []
        for shape in self.points.elsewhere:
            both = [(t, shape.times_us[p]) for p, t in self.times.items() if t and p in shape.times_us]
            if both:
                ratio = float(np.median([math.log(here / there) for here, there in both]))
                offset = np.array(shape.offset) / OCTAVES
                fastest = sorted(shape.times_us, key=lambda p: (shape.times_us[p], p))
                found += [(p, offset, math.log(shape.times_us[p]) + ratio) for p in fastest]
            if len(found) >= OTHERS:
                break
        return found[:OTHERS]

    def _far_from_all(self) -> Point:
        drawn = [self.points.draw(self.rng) for _ in range(SPREAD)]
        if not self.points.taken:
            return drawn[0]
        there, here = self._features(sorted(self.points.taken)), self._features(drawn)
        squared = np.sum((here[:, None] - there[None]) ** 2, axis=2)
        return drawn[int(np.argmax(np.min(squared, axis=1)))]

    def _fit(self, others: list[tuple[Point, Array, float]]) -> tuple[Posterior, float]:
        """The model of what is known, its hyperparameters a few steps further up their posterior density.

        Also the value of the best point here.
        """
        points, y = self._observations([log_us for _, _, log_us in others])
        x = self._rows(points, self._here)
        if others:
            elsewhere = self._features([p for p, _, _ in others])
            x = np.vstack([x, np.hstack([elsewhere, np.array([offset for _, offset, _ in others])])])

        def model_with(hyper: Hyperparameters) -> tuple[Posterior, float]:
            model = Posterior(x, y, self._owners, hyper)
            return model, model.evidence - hyper.penalty(self._prior)

        best, density = model_with(self._hyper)
        for _ in range(STEPS):
            other, its_density = model_with(self._step())
            if its_density > density:
                best, density = other, its_density
        self._hyper = best.hyper
        return best, float(np.min(y[: len(points)]))

    def _step(self) -> Hyperparameters:
        """The hyperparameters with one of them changed much, or all a little."""
        values = np.append(self._hyper.scales, self._hyper.noise)
        if self.rng.random() < 0.5:
            values[self.rng.randrange(len(values))] += self.rng.gauss(0, 1.0)
        else:
            values += [self.rng.gauss(0, 0.3) for _ in values]
        return Hyperparameters(values[:-1], float(values[-1]))

    def _observations(self, others: list[float]) -> tuple[list[Point], Array]:
        """Finished points and what the model is to explain: log times, then `others`, cut off at their median.

        How slow a slow point is says nothing about where fast ones are. Failures count as slow.
        """
        points = list(self.times)
        logs = np.array([math.inf if t is None else math.log(t) for t in self.times.values()])
        if len(points) > REMEMBERED:
            order = np.argsort(logs, kind="stable")
            half = REMEMBERED // 2
            rest = np.linspace(half, len(order) - 1, half).astype(int)
            kept = np.sort(np.concatenate([order[:half], order[rest]]))
            points, logs = [points[i] for i in kept], logs[kept]
        logs = np.append(logs, others)
        known = logs[np.isfinite(logs)]
        y = np.minimum(logs, max(float(np.median(known)), float(np.min(known)) + 1e-3))
        y = y - np.mean(y)
        self._scale = max(float(np.std(y)), 1e-12)
        return points, y / self._scale

    def _candidates(self) -> list[Point]:
        timed = sorted((t, p) for p, t in self.times.items() if t is not None)
        best = [p for _, p in timed[:BEST]]
        found = {near for p in best for near in self.points.neighbours(p)}
        found |= {p for p in (self._leap(self.rng.choice(best[:2])) for _ in range(LEAPS)) if self.points.open(p)}
        for _ in range(FRESH if self._pool else POOL):
            self._pool.append(self.points.draw(self.rng))
        self._pool = [p for p in self._pool[-POOL:] if p not in self.points.taken]
        return sorted(found.union(self._pool))

    def _leap(self, point: Point) -> Point:
        """A point, legal or not, that may differ in two or three parameters."""
        there = list(point)
        for position in self.rng.sample(self._free, min(len(self._free), self.rng.choice((2, 3)))):
            there[position] = self.rng.randrange(self.points.widths[position])
        return tuple(there)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Expectation of how far below `best` each normally distributed value lies (Jones et al., 1998)."""
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    return np.asarray(deviation * (z * below + density))
