"""What a prediction would try first, for as long as it keeps its promise."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tuner.search.points import Point

PATIENCE = 4
"""So many leads in a row that are no better than the best before them, and the others are left out."""


class Leads:
    """Points in the order in which they promise most, until too many in a row disappoint.

    Attributes:
        points: those that are left; whoever tries one takes it out.
    """

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self._all: frozenset[Point] = frozenset()
        self._best = float("inf")
        self._disappointments = 0

    def __bool__(self) -> bool:
        return bool(self.points)

    def follow(self, points: Iterable[Point]) -> None:
        """Take these from now on."""
        self.points = deque(points)
        self._all = frozenset(self.points)
        self._disappointments = 0

    def told(self, point: Point, time_us: float | None) -> None:
        """Hear the time of a point, which need not be a lead; None when it failed."""
        better = time_us is not None and time_us < self._best
        if better and time_us is not None:
            self._best = time_us
        if point in self._all:
            self._disappointments = 0 if better else self._disappointments + 1
            if self._disappointments >= PATIENCE:
                self.points.clear()
