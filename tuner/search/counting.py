"""Count, rank and list the legal points of a space, as tuples of value indices.

This is dynamic programming over the parameters in declared order. A partial count depends only on those
earlier values that a later constraint still looks at, so local constraints keep it small however large the
full product is. A constraint that looks at many parameters does not: counting then ends after a given amount
of work, and how many points there are is only known to be more than a number.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from math import inf, prod
from typing import TypeAlias

from tuner.search.constraints import BoundConstraint

Prefix: TypeAlias = tuple[int, ...]

WORK = 2**19
"""How many values counting looks at before it gives up: seconds, and at most some hundred MB of partial counts."""
SOME_WORK = 2**14
"""After so many it is estimated whether counting can end at all."""
DESCENTS = 64
"""From so many random descents; the estimate is their mean …"""
HOPELESS = 16
"""… and counting gives up where it is so many times the work that is allowed."""


class Counting:
    """The legal points of some parameters.

    Args:
        widths: how many values each parameter has.
        levels: for each parameter, the constraints that become decidable once it has a value.
        work: how many values counting may look at.
    """

    def __init__(self, widths: Sequence[int], levels: Sequence[Sequence[BoundConstraint]], work: int = WORK) -> None:
        self._widths = widths
        self._levels = levels
        self._work = work
        self._memo: dict[tuple[int, ...], int] = {}
        self._size: tuple[int, bool] | None = None
        looked_at = {i for level in levels for check in level for i in check.looked_at}
        # Parameters that no constraint looks at: all their values count alike.
        self._free = [i not in looked_at and not levels[i] for i in range(len(widths))]

    def size(self, deadline: float = inf) -> tuple[int, bool]:
        """How many legal points there are and True, or how many there are at least and False.

        The first call counts; later ones return what it found.

        Args:
            deadline: when to give up at the latest, on the clock of `time.monotonic`.
        """
        if self._size is None:
            self._size = self._counted(deadline)
        return self._size

    @cached_property
    def narrow(self) -> Counting:
        """The points that some constraints allow: those with the fewest combinations, as many as are soon counted."""
        known: list[BoundConstraint] = []
        checks = (check for level in self._levels for check in level)
        for check in sorted(checks, key=lambda c: prod(self._widths[i] for i in c.looked_at)):
            if self._of([*known, check])._most_work <= SOME_WORK:
                known.append(check)
        return self._of(known)

    def _of(self, checks: Sequence[BoundConstraint]) -> Counting:
        return Counting(self._widths, [[c for c in level if c in checks] for level in self._levels], sys.maxsize)

    def at(self, rank: int) -> Prefix:
        """The point at a position below the size, which is exact; the last parameter varies fastest."""
        prefix: Prefix = ()
        while len(prefix) < len(self._widths):
            if self._free[len(prefix)]:
                index, rank = divmod(rank, self._count((*prefix, 0)))
                prefix = (*prefix, index)
                continue
            for index in self._allowed(prefix):
                below = self._count((*prefix, index))
                if rank < below:
                    prefix = (*prefix, index)
                    break
                rank -= below
        return prefix

    def rank(self, point: Prefix) -> int:
        """The position of a legal point. The size is exact."""
        before = 0
        for level, index in enumerate(point):
            prefix = point[:level]
            before += sum(self._count((*prefix, i)) for i in self._allowed(prefix) if i < index)
        return before

    def walk(self, prefix: Prefix = ()) -> Iterator[Prefix]:
        """All points in order that begin with these indices. The size is exact."""
        if len(prefix) == len(self._widths):
            yield prefix
        elif self._count(prefix):
            for i in self._allowed(prefix):
                yield from self.walk((*prefix, i))

    # -- partial counts --------------------------------------------------------------------------

    @cached_property
    def _frontiers(self) -> tuple[Prefix, ...]:
        """For each level, the earlier positions that constraints from there on look at."""
        frontiers: list[Prefix] = []
        needed: set[int] = set()
        for level in range(len(self._widths) - 1, -1, -1):
            for check in self._levels[level]:
                needed.update(check.looked_at)
            frontiers.append(tuple(sorted(i for i in needed if i < level)))
        return (*reversed(frontiers), ())

    def _combinations(self, level: int) -> int:
        """How many partial counts there are at most of the points from a level on."""
        return prod(self._widths[i] for i in self._frontiers[level])

    @property
    def _most_work(self) -> int:
        """How many values counting looks at where no constraint refuses any."""
        return sum(self._combinations(i) * width for i, width in enumerate(self._widths) if not self._free[i])

    def _counted(self, deadline: float) -> tuple[int, bool]:
        found = 0
        for work in (min(SOME_WORK, self._work), self._work):
            self._memo.clear()
            try:
                return self._count((), _Allowance(work, deadline)), True
            except _SpentError as e:
                found = max(found, e.found)
            if time.monotonic() > deadline or self._estimated_work() > HOPELESS * self._work:
                break
        self._memo.clear()
        return (found, False) if self.narrow.size()[0] else (0, True)

    def _estimated_work(self) -> float:
        """How many values counting looks at, as random descents tell (Knuth, Mathematics of Computation 29, 1975)."""
        rng, total = random.Random(0), 0.0
        for _ in range(DESCENTS):
            prefix: Prefix = ()
            ways = 1.0
            for level, width in enumerate(self._widths):
                total += min(ways, self._combinations(level)) * width
                allowed = list(self._allowed(prefix))
                if not allowed:
                    break
                prefix, ways = (*prefix, rng.choice(allowed)), ways * len(allowed)
        return total / DESCENTS

    def _allowed(self, prefix: Prefix) -> Iterable[int]:
        level = len(prefix)
        checks = self._levels[level]
        return (i for i in range(self._widths[level]) if all(check((*prefix, i)) for check in checks))

    def _count(self, prefix: Prefix, allowance: _Allowance | None = None) -> int:
        """How many legal points begin with these indices."""
        level = len(prefix)
        if level == len(self._widths):
            return 1
        if self._free[level]:
            return self._widths[level] * self._count((*prefix, 0), allowance)
        key = (level, *(prefix[i] for i in self._frontiers[level]))
        if key not in self._memo:
            self._memo[key] = self._sum(prefix, allowance)
        return self._memo[key]

    def _sum(self, prefix: Prefix, allowance: _Allowance | None) -> int:
        total = 0
        try:
            if allowance is not None:
                allowance.spend(self._widths[len(prefix)])
            for i in self._allowed(prefix):
                total += self._count((*prefix, i), allowance)
        except _SpentError as e:
            e.found += total
            raise
        return total


class _SpentError(Exception):
    """The allowance is used up. `found` says how many legal points were counted until then."""

    found = 0


class _Allowance:
    """How much counting may still do: values to look at, and the time."""

    def __init__(self, values: int, deadline: float) -> None:
        self._values, self._deadline = values, deadline

    def spend(self, values: int) -> None:
        self._values -= values
        if self._values < 0 or time.monotonic() > self._deadline:
            raise _SpentError
