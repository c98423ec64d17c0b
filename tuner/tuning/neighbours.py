"""What the shapes tuned so far tell about the next one: in which order to tune, and what to try first.

A tactic that is close to the best at one shape tends to be so at shapes nearby. Its loss at another shape
is estimated by inverse distance weighting (Shepard, "A two-dimensional interpolation function for
irregularly-spaced data", ACM National Conference, 1968), between binary logarithms of sizes, since tiles
act by their ratios to sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import dist, log, log2
from typing import TypeAlias

from tuner.kernel.problem import Problem
from tuner.search.points import Elsewhere
from tuner.search.space import Space
from tuner.search.tactic import Tactic

Place: TypeAlias = tuple[float, ...]

SEEDS = 2
"""How many tactics of neighbours to try first. More are alike, and teach the search less than what it proposes."""
DOUBT = 0.1
"""The loss, as a logarithm, that a tactic is believed to have where nothing was measured …"""
DOUBT_WEIGHT = 0.05
"""… and how much that belief counts; a measurement at a shape half or twice as large counts 0.44."""


@dataclass(frozen=True)
class Tuned:
    """What was found at one shape.

    Attributes:
        place: where the shape lies.
        times_us: the time of every tactic that was timed.
    """

    place: Place
    times_us: Mapping[Tactic, float]


def place_of(problem: Problem) -> Place:
    """The binary logarithms of a problem's usual sizes, by name of the dimension."""
    return tuple(log2(size) for _, size in sorted(problem.sizes().items()))


def order(places: Sequence[Place]) -> list[int]:
    """The positions of shapes in the order in which to tune them.

    First the one nearest to all others, which is searched at length, then always the one nearest to those
    that were tuned, so that each starts from a close neighbour.
    """
    if not places:
        return []
    found = [min(range(len(places)), key=lambda i: sum(dist(places[i], p) for p in places))]
    left = [i for i in range(len(places)) if i != found[0]]
    while left:
        found.append(min(left, key=lambda i: min(dist(places[i], places[j]) for j in found)))
        left.remove(found[-1])
    return found


def seeds(place: Place, tuned: Iterable[Tuned], count: int) -> list[Tactic]:
    """The tactics that promise most at a place, by their estimated loss, the least first.

    Args:
        place: where the next shape lies.
        tuned: what was found at other shapes.
        count: how many tactics to return, at most.
    """
    weights: dict[Tactic, float] = {}
    losses: dict[Tactic, float] = {}
    for shape in tuned:
        if not shape.times_us:
            continue
        best_us = min(shape.times_us.values())
        weight = 1 / (0.5 + dist(place, shape.place)) ** 2
        for tactic, time_us in shape.times_us.items():
            weights[tactic] = weights.get(tactic, DOUBT_WEIGHT) + weight
            losses[tactic] = losses.get(tactic, DOUBT_WEIGHT * DOUBT) + weight * log(time_us / best_us)
    return sorted(losses, key=lambda t: (losses[t] / weights[t], t.id))[:count]


def elsewhere(place: Place, space: Space, tuned: Iterable[Tuned]) -> list[Elsewhere]:
    """What was found at other shapes, as the search of this place takes it."""
    return [
        Elsewhere(
            tuple(there - here for there, here in zip(shape.place, place, strict=True)),
            {space.encode(tactic.config): time_us for tactic, time_us in shape.times_us.items()},
        )
        for shape in tuned
    ]
