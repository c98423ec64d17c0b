"""Greedy local search with restarts."""

from __future__ import annotations

from tuner.search.base import PointSampler
from tuner.search.points import Point

STARTS = 8  # random points before the first descent


class LocalSearch(PointSampler):
    """Tries neighbours of the best point whose neighbourhood is not used up, in random order."""

    def propose(self) -> Point:
        finished = sorted((t, p) for p, t in self.times.items() if t is not None)
        if len(self.points.taken) > STARTS:
            for _, best in finished[: len(finished) // 4 + 1]:
                near = list(self.points.neighbours(best))
                if near:
                    return self.rng.choice(near)
        return self.points.draw(self.rng)
