"""The legal points of a space as tuples of value indices, and which of them have been taken."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tuner.search.counting import Prefix
from tuner.search.space import Space
from tuner.search.tactic import Config, Value

Point: TypeAlias = Prefix

TRIES = 256
"""How often a legal point is drawn by trial before it is looked for around those that are known."""
LEAST_HITS = 1 / 256
"""A space in which trials hit less often is not tried any more …"""
LOOKED = 4096
"""… once so many trials have shown it."""
WALKS = 32
"""How many random walks may look for an open point …"""
STEPS = 8
"""… and how many steps each takes for every parameter."""
KEPT = 2**17
"""How many points it is remembered of whether they are legal."""


class NoneFoundError(Exception):
    """No open point was found with bounded work. The message says what part of all points is refused, and why."""


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
        self._tried = self._hits = 0

    @property
    def left(self) -> int:
        """How many legal points have not been taken; more than anybody asks for where they are too many to count."""
        return self.space.size - len(self.taken) if self.space.counted else sys.maxsize

    def config(self, point: Point) -> dict[str, Value]:
        """The configuration at a point."""
        return self.space.decode(point)

    def legal(self, point: Point) -> bool:
        """Whether a point meets every constraint."""
        known = self._legal.get(point)
        if known is None:
            if len(self._legal) == KEPT:
                self._legal.clear()
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
        """An open point, each equally likely. There must be one left.

        In a space that is too large to count, where next to no point is legal, it is one near those that were
        taken, and not all are equally likely.

        Raises:
            NoneFoundError: when there is none near them either; only there.
        """
        if self.space.counted:
            for _ in range(64):
                point = self.space.encode(self.space.point(rng.randrange(self.space.size)))
                if point not in self.taken:
                    return point
            return rng.choice([p for p in map(self.space.encode, self.space) if p not in self.taken])
        found = self._by_trial(rng) or self._by_walking(rng) or self._around(rng)
        if found is None:
            raise NoneFoundError(self.space.most_refused())
        return found

    def _by_trial(self, rng: random.Random) -> Point | None:
        for _ in range(TRIES):
            if self._tried >= LOOKED and self._hits < LEAST_HITS * self._tried:
                return None
            self._tried += 1
            point = self.space.hit(rng)
            self._hits += point is not None
            if point is not None and point not in self.taken:
                return point
        return None

    def _by_walking(self, rng: random.Random) -> Point | None:
        """Where a random walk over legal points ends, which starts at a taken one and changes one or two values a step.

        Two at a time also keep what a constraint demands of a sum or a product.
        """
        free = [i for i, width in enumerate(self.widths) if width > 1]
        known = sorted(self.taken)
        for _ in range(WALKS if known and free else 0):
            here = rng.choice(known)
            for _ in range(STEPS * len(free)):
                there = list(here)
                for position in rng.sample(free, min(rng.choice((1, 2)), len(free))):
                    there[position] = rng.randrange(self.widths[position])
                settled = self.space.settled(there)
                here = settled if self.legal(settled) else here
            if self.open(here):
                return here
        return None

    def _around(self, rng: random.Random) -> Point | None:
        """An open point one value away from a taken one."""
        known = sorted(self.taken)
        return next((near for p in rng.sample(known, len(known)) for near in self.neighbours(p)), None)

    def nearest(self, point: Point, rng: random.Random) -> Point:
        """`point` if it is open, else an open point one parameter away, else any open point."""
        if self.open(point):
            return point
        near = list(self.neighbours(point))
        return rng.choice(near) if near else self.draw(rng)


def drawn(space: Space, known: Config, rng: random.Random, count: int) -> list[dict[str, Value]]:
    """Up to `count` distinct legal points, none of them the known one: fewer where no more are found."""
    if space.counted:
        return [c for c in space.sample(rng, count) if c != known]
    points = Points(space)
    points.taken.add(space.encode(known))
    found: list[dict[str, Value]] = []
    while len(found) < count:
        try:
            point = points.draw(rng)
        except NoneFoundError:
            break
        points.taken.add(point)
        found.append(points.config(point))
    return found
