"""Uniform sampling of legal points, which any other sampler has to beat."""

from __future__ import annotations

from tuner.search.base import PointSampler
from tuner.search.points import Point


class RandomPoints(PointSampler):
    """Every open point is equally likely."""

    def propose(self) -> Point:
        return self.points.draw(self.rng)
