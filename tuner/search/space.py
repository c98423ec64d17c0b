"""Search spaces: the legal combinations of parameters.

Legal points are counted, ranked and drawn by dynamic programming over the parameters in declared
order. A partial count depends only on those earlier values that a later constraint still looks at,
so local constraints keep it small however large the full product is.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from tuner.errors import ConfigError, did_you_mean
from tuner.search.constraints import BoundConstraint, Constraint, Scope, settled
from tuner.search.params import Param
from tuner.search.tactic import Config, Tactic, Value

Prefix = tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """The legal combinations of some parameters.

    Attributes:
        params: the tuned parameters, in declared order.
        constraints: what a legal point meets, in every scope.
        scopes: values for the other names that constraints ask for; several where a problem's
            dimensions vary, since a tactic must be legal over the whole range.
    """

    params: tuple[Param, ...]
    constraints: tuple[Constraint, ...] = ()
    scopes: tuple[Scope, ...] = field(default=({},), compare=False)

    def __post_init__(self) -> None:
        names = [p.name for p in self.params]
        if len(set(names)) < len(names):
            raise ConfigError(f"the space declares a parameter twice: {', '.join(names)}")
        for position, p in enumerate(self.params):
            if p.when is not None:
                if p.when[0] not in names[:position]:
                    raise ConfigError(f"parameter {p.name!r} depends on {p.when[0]!r}, which is not declared before it")
                governor = self.params[names.index(p.when[0])]
                if governor.when is not None:
                    raise ConfigError(f"parameter {p.name!r} depends on {governor.name!r}, which may not apply itself")
                for value in p.when[1]:
                    governor.index(value)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.params)

    def bind(self, *scopes: Scope) -> Space:
        """The same space for a given problem: each scope maps names to values."""
        for scope in scopes:
            known = [*self.names, *scope]
            for c in self.constraints:
                for name in c.names:
                    if name not in known:
                        raise ConfigError(
                            f"constraint {c.name!r} names {name!r}, which is not declared{did_you_mean(name, known)}"
                        )
        return Space(self.params, self.constraints, scopes)

    # -- single points ---------------------------------------------------------------------------

    def encode(self, config: Config) -> Prefix:
        """The index of each parameter's value; `ConfigError` for an unknown name or value."""
        if config.keys() == self._names and not self._conditional:
            return tuple([p.index(config[p.name]) for p in self.params])
        for name in config:
            if name not in self._names:
                raise ConfigError(f"unknown parameter {name!r}{did_you_mean(name, self.names)}")
        indices: list[int] = []
        for position, p in enumerate(self.params):
            if self.applies(position, indices):
                if p.name not in config:
                    raise ConfigError(f"parameter {p.name!r} is missing; use one of {list(p.values)}")
                indices.append(p.index(config[p.name]))
            elif p.when is not None and p.name in config:
                raise ConfigError(f"parameter {p.name!r} does not apply where {p.when[0]}={config[p.when[0]]!r}")
            else:
                indices.append(0)
        return tuple(indices)

    def decode(self, indices: Sequence[int]) -> dict[str, Value]:
        """The configuration at these value indices."""
        return {
            p.name: p.values[i]
            for position, (p, i) in enumerate(zip(self.params, indices, strict=True))
            if self.applies(position, indices)
        }

    def complete(self, config: Config) -> dict[str, Value]:
        """A value for every parameter: the first one where the configuration has none because it does not apply."""
        return {p.name: config.get(p.name, p.values[0]) for p in self.params}

    def applies(self, position: int, indices: Sequence[int]) -> bool:
        """Whether the parameter at a position is part of a configuration; `indices` may end before it."""
        governor = self._governors[position]
        return governor is None or indices[governor[0]] in governor[1]

    def settled(self, indices: Sequence[int]) -> Prefix:
        """The same point with index 0 for every parameter that does not apply."""
        if not self._conditional:
            return tuple(indices)
        return tuple(i if self.applies(position, indices) else 0 for position, i in enumerate(indices))

    def violated(self, config: Config) -> Constraint | None:
        """The first constraint that a configuration does not meet, in the order they become decidable."""
        indices = self.encode(config)
        for level in self._levels:
            for check in level:
                if not check(indices):
                    return check.constraint
        return None

    def __contains__(self, config: Config) -> bool:
        """Whether a configuration is a legal point; one that a constraint fails on is not."""
        try:
            return self.violated(config) is None
        except ConfigError:
            return False

    def neighbours(self, config: Config) -> Iterator[dict[str, Value]]:
        """Legal points that differ in one parameter, each parameter's nearest values first."""
        indices = self.encode(config)
        for position, p in enumerate(self.params):
            if not self.applies(position, indices):
                continue
            here = indices[position]
            for i in sorted(range(len(p.values)), key=lambda i: abs(i - here)):
                other = self.decode(self.settled((*indices[:position], i, *indices[position + 1 :])))
                if i != here and other in self:
                    yield other

    # -- the whole space -------------------------------------------------------------------------

    @property
    def product(self) -> int:
        """How many points there would be without constraints."""
        return prod(len(p.values) for p in self.params)

    @cached_property
    def size(self) -> int:
        """How many legal points there are."""
        return self._count(())

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """All legal points, the last parameter varying fastest."""
        return (self.decode(p) for p in self._walk(()))

    def rank(self, config: Config) -> int:
        """The position of a legal point in the order of iteration."""
        violated = self.violated(config)
        if violated:
            raise ConfigError(f"({Tactic(config)}) is outside the space: {violated}")
        indices, before = self.encode(config), 0
        for level, index in enumerate(indices):
            prefix = indices[:level]
            before += sum(self._count((*prefix, i)) for i in self._allowed(prefix) if i < index)
        return before

    def point(self, rank: int) -> dict[str, Value]:
        """The legal point at a position in the order of iteration."""
        if not 0 <= rank < self.size:
            raise IndexError(f"rank {rank} is outside a space of {self.size} points")
        prefix: Prefix = ()
        while len(prefix) < len(self.params):
            for i in self._allowed(prefix):
                below = self._count((*prefix, i))
                if rank < below:
                    prefix = (*prefix, i)
                    break
                rank -= below
        return self.decode(prefix)

    def sample(self, rng: random.Random, count: int = 1) -> list[dict[str, Value]]:
        """Distinct legal points, each equally likely; all of them when there are no more."""
        ranks: Iterable[int]
        if self.size <= sys.maxsize:
            ranks = rng.sample(range(self.size), min(count, self.size))
        else:  # more than a range can be asked about: drawing one twice is next to impossible
            ranks = set()
            while len(ranks) < count:
                ranks.add(rng.randrange(self.size))
        return [self.point(r) for r in ranks]

    # -- dynamic programming ---------------------------------------------------------------------

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _governors(self) -> tuple[tuple[int, frozenset[int]] | None, ...]:
        """For each parameter that applies only sometimes: where the one it depends on is, and which of its values."""
        governors: list[tuple[int, frozenset[int]] | None] = []
        for p in self.params:
            if p.when is None:
                governors.append(None)
            else:
                position = self.names.index(p.when[0])
                governors.append((position, frozenset(map(self.params[position].index, p.when[1]))))
        return tuple(governors)

    @cached_property
    def _conditional(self) -> bool:
        return any(self._governors)

    @cached_property
    def _levels(self) -> tuple[tuple[BoundConstraint, ...], ...]:
        """For each parameter, the constraints that become decidable once it has a value."""
        levels: list[list[BoundConstraint]] = [[] for _ in self.params]
        for c in (*self.constraints, *filter(None, map(settled, self.params))) if levels else ():
            check = BoundConstraint(c, self.params, self.scopes)
            levels[max(check.looked_at, default=0)].append(check)
        return tuple(map(tuple, levels))

    @cached_property
    def _frontiers(self) -> tuple[Prefix, ...]:
        """For each level, the earlier positions that constraints from there on look at."""
        frontiers: list[Prefix] = []
        needed: set[int] = set()
        for level in range(len(self.params) - 1, -1, -1):
            for check in self._levels[level]:
                needed.update(check.looked_at)
            frontiers.append(tuple(sorted(i for i in needed if i < level)))
        return (*reversed(frontiers), ())

    @cached_property
    def _memo(self) -> dict[tuple[int, ...], int]:
        return {}

    def _allowed(self, prefix: Prefix) -> Iterable[int]:
        level = len(prefix)
        checks = self._levels[level]
        return (i for i in range(len(self.params[level].values)) if all(check((*prefix, i)) for check in checks))

    def _count(self, prefix: Prefix) -> int:
        level = len(prefix)
        if level == len(self.params):
            return 1
        key = (level, *(prefix[i] for i in self._frontiers[level]))
        if key not in self._memo:
            self._memo[key] = sum(self._count((*prefix, i)) for i in self._allowed(prefix))
        return self._memo[key]

    def _walk(self, prefix: Prefix) -> Iterator[Prefix]:
        if len(prefix) == len(self.params):
            yield prefix
        elif self._count(prefix):
            for i in self._allowed(prefix):
                yield from self._walk((*prefix, i))
