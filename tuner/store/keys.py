"""Keys of cache entries: what an entry is for, as values that are quick to compare, sort and measure distances of."""

from __future__ import annotations

from collections.abc import Mapping
from math import dist, log2, prod
from typing import NamedTuple, TypeAlias

from tuner.kernel.kernel import Attribute
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import DimData, RangeData
from tuner.store.entry import Entry
from tuner.store.nearest import Coordinates


class Group(NamedTuple):
    """All of a key but device and dimensions: a lookup never serves an entry of another group.

    Attributes:
        kernel: the plugin id.
        source: the hash of the kernel's source.
        backend: who says how long a tactic takes.
        dtypes: the dtype variables with their data types, sorted.
        attributes: the attributes with their values as Python spells them, sorted.
        dims: the names of the dimensions, sorted.
    """

    kernel: str
    source: str
    backend: str
    dtypes: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    dims: tuple[str, ...]


class Key(NamedTuple):
    """What an entry is for: no two entries of a cache have the same key.

    Attributes:
        group: kernel, source, backend, data types and attributes.
        device: the name of the GPU.
        shape: the extents of each dimension, in the order of `Group.dims`.
    """

    group: Group
    device: str
    shape: tuple[DimKey, ...]


def key_of(entry: Entry) -> Key:
    """Make the key of an entry."""
    names = tuple(sorted(entry.dims))
    group = _group(entry.kernel, entry.source, entry.backend, entry.dtypes, entry.attributes, names)
    return Key(group, entry.device, tuple([dim_key(entry.dims[n]) for n in names]))


def problem_key(problem: Problem, source: str, backend: str, device: str) -> Key:
    """Make the key that the entry of a problem has; `source` is the hash of its kernel's source."""
    names = tuple(sorted(problem.dims))
    group = _group(problem.kernel.id, source, backend, problem.dtypes, problem.attributes, names)
    shape = tuple([tuple([(r.min, r.opt, r.max) for r in problem.dims[n]]) for n in names])
    return Key(group, device, shape)


def _group(
    kernel: str,
    source: str,
    backend: str,
    dtypes: Mapping[str, str],
    attributes: Mapping[str, Attribute],
    dims: tuple[str, ...],
) -> Group:
    # repr tells 1, 1.0 and True apart.
    values = tuple(sorted([(n, repr(v)) for n, v in attributes.items()]))
    return Group(kernel, source, backend, tuple(sorted(dtypes.items())), values, dims)


DimKey: TypeAlias = tuple[tuple[int, int, int], ...]
"""A dimension as it is compared: the (min, opt, max) of each of its extents."""


def dim_key(dim: DimData) -> DimKey:
    """Spell a dimension as it is compared."""
    if isinstance(dim, int):
        return ((dim, dim, dim),)
    extents = dim if isinstance(dim, tuple) else (dim,)
    return tuple([(e.min, e.opt, e.max) if isinstance(e, RangeData) else (e, e, e) for e in extents])


def point_of(shape: tuple[DimKey, ...]) -> Coordinates:
    """Place a shape among others: the binary logarithms of each dimension's elements at min, opt and max."""
    point: list[float] = []
    for dim in shape:
        low, opt, high = dim[0] if len(dim) == 1 else map(prod, zip(*dim, strict=True))
        point += (log2(low), log2(opt), log2(high))
    return tuple(point)


def covers(held: DimKey, asked: DimKey) -> bool:
    """Tell whether the range of a dimension holds all of another range of it."""
    return len(held) == len(asked) and all(h[0] <= a[0] and a[2] <= h[2] for h, a in zip(held, asked, strict=True))


def width(shape: tuple[DimKey, ...]) -> float:
    """Add up by how many doublings the ends of each dimension's range are apart."""
    return sum(log2(high / low) for dim in shape for low, _, high in dim)


def usual(shape: tuple[DimKey, ...]) -> Coordinates:
    """Place a shape by its optimum alone: the binary logarithms of each dimension's elements."""
    return tuple(log2(prod(opt for _, opt, _ in dim)) for dim in shape)


def nearest_timed(entry: Entry, shape: tuple[DimKey, ...]) -> tuple[float, int | None]:
    """Find the nearest shape that an entry's portfolio was timed at.

    Returns:
        How far it is from `shape`, as a Euclidean distance of binary logarithms, and the id of the tactic that was the
        fastest there. For an entry without timed shapes 0.0 and None.
    """
    here = usual(shape)
    places = [(dist(here, usual(tuple(dim_key(s.dims[n]) for n in sorted(s.dims)))), s.best) for s in entry.timed]
    return min(places, key=lambda place: place[0], default=(0.0, None))
