"""The legal points of a space as tuples of value indices, and which of them have been taken."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tuner.search.space import Space
from tuner.search.tactic import Value

Point: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Elsewhere:
    """What was found for the same kernel at another shape.

    Attributes:
        offset: how far away that shape is along each dimension, in binary logarithms of sizes.
        times_us: the time of each tactic that was timed there.
    """

    offset: tuple[float, ...]
    times_us: Mapping[Point, float]


class Points:
    """What a search may still propose.

    Attributes:
        space: the space, which holds at least one legal point.
        widths: how many values each parameter has.
        taken: points proposed so far, which are never proposed again.
        elsewhere: what was found at other shapes, the nearest first.
    """

    def __init__(self, space: Space, elsewhere: Sequence[Elsewhere] = ()) -> None:
        self.space = space
        self.elsewhere = elsewhere
        self.widths: Point = tuple(len(p.values) for p in space.params)
        self.taken: set[Point] = set()
        self._legal: dict[Point, bool] = {}

    @property
    def left(self) -> int:
        """How many legal points have not been taken."""
        return self.space.size - len(self.taken)

    def config(self, point: Point) -> dict[str, Value]:
        """The configuration at a point."""
        return self.space.decode(point)

    def legal(self, point: Point) -> bool:
        """Whether a point meets every constraint."""
        known = self._legal.get(point)
        if known is None:
            settled = self.space.settled(point) == point
            known = self._legal[point] = settled and self.space.decode(point) in self.space
        return known

    def open(self, point: Point) -> bool:
        """Whether a point may be proposed: legal, and not taken."""
        return point not in self.taken and self.legal(point)

    def neighbours(self, point: Point) -> Iterator[Point]:
        """Open points that differ from a point, legal or not, in one parameter."""
        for position, width in enumerate(self.widths):
            for index in range(width):
                other = self.space.settled((*point[:position], index, *point[position + 1 :]))
                if other != point and self.open(other):
                    yield other

    def draw(self, rng: random.Random) -> Point:
        """An open point, each equally likely. There must be one left."""
        for _ in range(64):
            point = self.space.encode(self.space.point(rng.randrange(self.space.size)))
            if point not in self.taken:
                return point
        return rng.choice([p for p in map(self.space.encode, self.space) if p not in self.taken])

    def nearest(self, point: Point, rng: random.Random) -> Point:
        """`point` if it is open, else an open point one parameter away, else any open point."""
        if self.open(point):
            return point
        near = list(self.neighbours(point))
        return rng.choice(near) if near else self.draw(rng)
