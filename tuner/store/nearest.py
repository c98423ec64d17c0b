"""Points in the order of their distance from a place: a k-d tree, searched best first.

Friedman, Bentley and Finkel, "An Algorithm for Finding Best Matches in Logarithmic Expected Time",
ACM Transactions on Mathematical Software 3(3), 1977; the queue of nodes by distance is Hjaltason and
Samet's, "Distance Browsing in Spatial Databases", ACM Transactions on Database Systems 24(2), 1999.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from math import dist
from typing import TypeAlias

Coordinates: TypeAlias = tuple[float, ...]

_LEAF = 8
"""Points that are compared one by one: below this, comparing is cheaper than another level."""

# A node is a list of positions (a leaf), or the axis, the value that separates, and two nodes.
_Node: TypeAlias = "list[int] | tuple[int, float, _Node, _Node]"


class Nearest:
    """Finds, among points of one dimensionality, those nearest to another point."""

    def __init__(self, points: Sequence[Coordinates]) -> None:
        self._points = points
        self._root = self._build(list(range(len(points))))

    def _build(self, positions: list[int]) -> _Node:
        if len(positions) <= _LEAF:
            return positions
        columns = list(zip(*(self._points[i] for i in positions), strict=True))
        axis = max(range(len(columns)), key=lambda a: max(columns[a]) - min(columns[a]))
        positions.sort(key=lambda i: self._points[i][axis])
        middle = len(positions) // 2
        cut = self._points[positions[middle]][axis]
        return axis, cut, self._build(positions[:middle]), self._build(positions[middle:])

    def search(self, place: Coordinates) -> Iterator[tuple[float, int]]:
        """Yield the distance and the position of every point, nearest first, ties by position."""
        # At equal distance nodes (-1) come before points, as they may hold points of that distance too.
        queue: list[tuple[float, int, int, _Node]] = [(0.0, -1, 0, self._root)]
        points, serial = self._points, 0
        while queue:
            bound, position, _, node = heappop(queue)
            if position >= 0:
                yield bound, position
                continue
            while isinstance(node, tuple):
                axis, cut, low, high = node
                gap = place[axis] - cut
                node, far = (low, high) if gap < 0 else (high, low)
                serial += 1
                heappush(queue, (max(bound, abs(gap)), -1, serial, far))
            for i in node:
                heappush(queue, (dist(place, points[i]), i, 0, node))
