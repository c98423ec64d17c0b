"""What an entry of the cache is for: a kernel on a device at some dimensions, as values to compare and sort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tuner.entry import Entry
from tuner.kernel import Attribute
from tuner.places import DimKey, dim_key
from tuner.problem import Problem


class Group(NamedTuple):
    """What a tactic never crosses."""

    kernel: str
    source: str
    backend: str
    dtypes: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    dims: tuple[str, ...]


class Key(NamedTuple):
    """What an entry is for: no two entries of a cache have the same."""

    group: Group
    device: str
    shape: tuple[DimKey, ...]


def key_of(entry: Entry) -> Key:
    """What an entry is for."""
    names = tuple(sorted(entry.dims))
    group = _group(entry.kernel, entry.source, entry.backend, entry.dtypes, entry.attributes, names)
    return Key(group, entry.device, tuple([dim_key(entry.dims[n]) for n in names]))


def problem_key(problem: Problem, source: str, backend: str, device: str) -> Key:
    """What the entry of a problem is for; `source` is the hash of its kernel's source."""
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
