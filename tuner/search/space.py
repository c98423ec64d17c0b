"""Search spaces: the legal combinations of parameters.

Legal points are counted, listed, ranked and drawn by their rank (see `tuner.search.counting`). Where there are
too many to count, they are drawn by trial from those that the constraints on few parameters leave.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, prod

from tuner.errors import ConfigError, did_you_mean
from tuner.search.constraints import BoundConstraint, Constraint, Scope, settled
from tuner.search.counting import WORK, Counting, Prefix
from tuner.search.params import Param
from tuner.search.tactic import Config, Tactic, Value


@dataclass(frozen=True)
class Space:
    """The legal combinations of some parameters.

    Attributes:
        params: the tuned parameters, in declared order.
        constraints: what a legal point meets, in every scope.
        scopes: values for the other names that constraints ask for; several where a problem's
            dimensions vary, since a tactic must be legal over the whole range.
        work: how many values may be looked at to count the legal points.
    """

    params: tuple[Param, ...]
    constraints: tuple[Constraint, ...] = ()
    scopes: tuple[Scope, ...] = field(default=({},), compare=False)
    work: int = field(default=WORK, compare=False)

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
        return replace(self, scopes=scopes)

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

    def count(self, deadline: float = inf) -> tuple[int, bool]:
        """`size` and `counted`. The first call counts, which ends at `deadline` (`time.monotonic`) at the latest."""
        return self._counting.size(deadline)

    @property
    def size(self) -> int:
        """How many legal points there are; unless `counted`, how many there are at least."""
        return self.count()[0]

    @property
    def counted(self) -> bool:
        """Whether the legal points are few enough to be counted. Only then can they be listed and ranked."""
        return self.count()[1]

    @property
    def size_text(self) -> str:
        """The size for a reader: ``44``, or ``more than 5000``."""
        return f"{'' if self.counted else 'more than '}{self.size}"

    def __len__(self) -> int:
        self._require_counted()
        return self.size

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """All legal points, the last parameter varying fastest."""
        self._require_counted()
        return map(self.decode, self._counting.walk())

    def rank(self, config: Config) -> int:
        """The position of a legal point in the order of iteration."""
        self._require_counted()
        violated = self.violated(config)
        if violated:
            raise ConfigError(f"({Tactic(config)}) is outside the space: {violated}")
        return self._counting.rank(self.encode(config))

    def point(self, rank: int) -> dict[str, Value]:
        """The legal point at a position in the order of iteration."""
        self._require_counted()
        if not 0 <= rank < self.size:
            raise IndexError(f"rank {rank} is outside a space of {self.size} points")
        return self.decode(self._counting.at(rank))

    def sample(self, rng: random.Random, count: int = 1) -> list[dict[str, Value]]:
        """Distinct legal points, each equally likely; all of them when there are no more."""
        self._require_counted()
        ranks: Iterable[int]
        if self.size <= sys.maxsize:
            ranks = rng.sample(range(self.size), min(count, self.size))
        else:  # more than a range can be asked about: drawing one twice is next to impossible
            ranks = set()
            while len(ranks) < count:
                ranks.add(rng.randrange(self.size))
        return [self.point(r) for r in ranks]

    def hit(self, rng: random.Random) -> Prefix | None:
        """The indices of a legal point, each equally likely; None when one was drawn that is not legal.

        That happens only where the points are too many to count, and as often as the constraints refuse that
        look at many parameters.
        """
        counting = self._counting if self.counted else self._counting.narrow
        size, _ = counting.size()
        drawn = self.decode(counting.at(rng.randrange(size))) if size else None
        return None if drawn is None or self.violated(drawn) else self.encode(drawn)

    def most_refused(self) -> str:
        """What part of points drawn at random is refused, and which constraint refuses most of them."""
        rng = random.Random(0)
        drawn = [self.decode([rng.randrange(len(p.values)) for p in self.params]) for _ in range(1000)]
        refused = Counter(str(c) for c in map(self.violated, drawn) if c is not None)
        (worst, count), *_ = [*refused.most_common(1), ("no constraint", 0)]
        return f"{count / 10:g} % of all are refused by {worst}"

    def _require_counted(self) -> None:
        if not self.counted:
            raise ConfigError(f"the space has {self.size_text} legal points, too many to list; draw some of them")

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
    def _counting(self) -> Counting:
        return Counting([len(p.values) for p in self.params], self._levels, self.work)
