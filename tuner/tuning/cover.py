"""The smallest set of tactics of which one is near the best at every shape: a set cover, solved exactly.

Few tactics and shapes make branch and bound quick: take a shape that the fewest tactics serve, try each
of them, and give up a branch that cannot end with fewer tactics than the best cover known, or with as many
and a smaller loss. The first cover known is the greedy one (Chvatal, "A greedy heuristic for the
set-covering problem", Mathematics of Operations Research 4(3), 1979). Should the branches not end, the best
cover known is the answer, and `Cover.exact` says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuner.search.tactic import Tactic

MOST_BRANCHES = 200_000
"""Half a second. With 16 tactics there are at most 65 536 sets."""


@dataclass(frozen=True)
class Cover:
    """Tactics of which one is near the best at every shape.

    Attributes:
        tactics: the set, in the order of how many shapes each is near the best at.
        exact: whether no smaller set exists, for certain.
    """

    tactics: tuple[Tactic, ...]
    exact: bool

    @property
    def method(self) -> str:
        """How the set was found."""
        return "exact" if self.exact else "greedy, then improved"


def loss(times: Mapping[Tactic, float], tactic: Tactic) -> float:
    """By what part a tactic is slower than the best one at a shape; infinite where it has no time."""
    return times[tactic] / min(times.values()) - 1 if tactic in times else math.inf


def smallest(times: Iterable[Mapping[Tactic, float]], within: float) -> Cover:
    """Find the smallest set of tactics of which one loses at most `within` at every shape.

    Among sets of one size it is the one with the least loss, added up over shapes.

    Args:
        times: for each shape, of which there is at least one, the times of the tactics that have one there.
        within: 0.02 for 2 %.
    """
    losses = [{t: excess for t in at if (excess := loss(at, t)) <= within} for at in times]
    served = {t: frozenset(s for s, at in enumerate(losses) if t in at) for at in losses for t in at}
    search = _CoverSearch(losses, served)
    search.branch((), frozenset(range(len(losses))))
    tactics = sorted(search.best, key=lambda t: (-len(served[t]), t.id))
    return Cover(tuple(tactics), search.branches < MOST_BRANCHES)


class _CoverSearch:
    def __init__(self, losses: list[dict[Tactic, float]], served: Mapping[Tactic, frozenset[int]]) -> None:
        self._losses, self._served = losses, served
        self._widest = max(map(len, served.values()))
        self.branches = 0
        self.best = self._greedy()
        self._least = self._total(self.best)

    def branch(self, chosen: tuple[Tactic, ...], open_shapes: frozenset[int]) -> None:
        """Complete a choice of tactics that leaves some shapes unserved, in every way that may be better."""
        self.branches += 1
        if not open_shapes:
            if (len(chosen), self._total(chosen)) < (len(self.best), self._least):
                self.best, self._least = chosen, self._total(chosen)
            return
        needed = -(-len(open_shapes) // self._widest)
        if self.branches >= MOST_BRANCHES or len(chosen) + needed > len(self.best):
            return
        hardest = min(open_shapes, key=lambda s: len(self._losses[s]))
        for tactic in sorted(self._losses[hardest], key=lambda t: (-len(self._served[t] & open_shapes), t.id)):
            self.branch((*chosen, tactic), open_shapes - self._served[tactic])

    def _greedy(self) -> tuple[Tactic, ...]:
        chosen: list[Tactic] = []
        left = frozenset(range(len(self._losses)))
        while left:
            chosen.append(max(self._served, key=lambda t: (len(self._served[t] & left), -t.id)))
            left -= self._served[chosen[-1]]
        return tuple(chosen)

    def _total(self, chosen: tuple[Tactic, ...]) -> float:
        return sum(min(at[t] for t in chosen if t in at) for at in self._losses)
