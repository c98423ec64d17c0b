"""Where problems lie among each other: extents to compare, and points whose distance can be taken."""

from __future__ import annotations

from math import dist, log2, prod
from typing import TypeAlias

from tuner.dims import DimData, RangeData
from tuner.entry import Entry
from tuner.nearest import Point

DimKey: TypeAlias = tuple[tuple[int, int, int], ...]
"""The (min, opt, max) of each extent of a dimension."""


def dim_key(dim: DimData) -> DimKey:
    """The extents of a dimension as they are compared."""
    if isinstance(dim, int):
        return ((dim, dim, dim),)
    extents = dim if isinstance(dim, tuple) else (dim,)
    return tuple([(e.min, e.opt, e.max) if isinstance(e, RangeData) else (e, e, e) for e in extents])


def point_of(shape: tuple[DimKey, ...]) -> Point:
    """The binary logarithms of each dimension's elements at min, opt and max."""
    point: list[float] = []
    for dim in shape:
        low, opt, high = dim[0] if len(dim) == 1 else map(prod, zip(*dim, strict=True))
        point += (log2(low), log2(opt), log2(high))
    return tuple(point)


def covers(held: DimKey, asked: DimKey) -> bool:
    """Whether one range of a dimension holds all of another."""
    return len(held) == len(asked) and all(h[0] <= a[0] and a[2] <= h[2] for h, a in zip(held, asked, strict=True))


def width(shape: tuple[DimKey, ...]) -> float:
    """By how many doublings the ends of ranges are apart, added up."""
    return sum(log2(high / low) for dim in shape for low, _, high in dim)


def usual(shape: tuple[DimKey, ...]) -> Point:
    """The binary logarithms of each dimension's elements at opt."""
    return tuple(log2(prod(opt for _, opt, _ in dim)) for dim in shape)


def nearest_timed(entry: Entry, shape: tuple[DimKey, ...]) -> tuple[float, int | None]:
    """How far away the nearest shape is that a portfolio was timed at, and which tactic was fastest there."""
    here = usual(shape)
    places = [(dist(here, usual(tuple(dim_key(s.dims[n]) for n in sorted(s.dims)))), s.best) for s in entry.timed]
    return min(places, key=lambda place: place[0], default=(0.0, None))
