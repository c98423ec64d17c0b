"""Constraints: named conditions of legal points, which say why they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

from tuner.errors import ConfigError
from tuner.search.call_by_name import names_of
from tuner.search.params import Param
from tuner.search.tactic import Config, Value

KEPT = 2**18
"""How many answers of a constraint are kept: one that looks at many parameters could fill the memory."""

Scope: TypeAlias = Mapping[str, Any]
"""Values of what a constraint may name besides parameters: dimensions, data types, attributes."""


@dataclass(frozen=True)
class Constraint:
    """A named condition every legal point meets.

    Attributes:
        name: what a refusal is filed under.
        holds: a predicate that asks, by parameter name, for the parameters, dimensions, dtypes and
            attributes it looks at, and depends on nothing else. The fewer it names, the cheaper the
            space is to count: it is asked once about each combination of their values.
        why: completes "refused because …".
        names: what `holds` asks for; read from its signature unless given.
    """

    name: str
    holds: Callable[..., bool]
    why: str
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", names_of(self.holds))

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def settled(param: Param) -> Constraint | None:
    """Where a parameter does not apply, the space holds one of its values, the first, instead of all."""
    if param.when is None:
        return None
    governor, values = param.when

    def holds(**point: Value) -> bool:
        return point[governor] in values or point[param.name] == param.values[0]

    return Constraint("settled", holds, f"{param.name} does not apply", (governor, param.name))


def listed(params: Sequence[Param], configs: Sequence[Config], name: str, why: str) -> Iterator[Constraint]:
    """Constraints that hold for the given configurations alone, each of which has a value for every parameter.

    There is one for each number of first parameters whose values do not follow from fewer, so that counting
    goes along what is listed and not along the product. `{param}` in `name` and `why` is the last of them.
    """
    names = tuple(p.name for p in params)
    shorter = 1
    for position, param in enumerate(params):
        heads = frozenset(tuple(c[n] for n in names[: position + 1]) for c in configs)
        if len(heads) < shorter * len(param.values):  # else every continuation is listed
            said = [text.format(param=param.name) for text in (name, why)]
            yield Constraint(said[0], _begins(heads), said[1], names[: position + 1])
        shorter = len(heads)


def _begins(heads: frozenset[tuple[Value, ...]]) -> Callable[..., bool]:
    """Whether values, in the order in which a constraint names them, are among the first ones of what is listed."""

    def holds(**values: Value) -> bool:
        return tuple(values.values()) in heads

    return holds


class BoundConstraint:
    """A constraint on value indices, in every scope; asked once about each combination, of many at least the last."""

    def __init__(self, constraint: Constraint, params: Sequence[Param], scopes: Sequence[Scope]) -> None:
        self.constraint = constraint
        self.looked_at = tuple(i for i, p in enumerate(params) if p.name in constraint.names)
        self._key = itemgetter(*self.looked_at) if self.looked_at else lambda indices: ()
        self._params = tuple(params[i] for i in self.looked_at)
        self._scopes = scopes
        self._known: dict[Any, bool] = {}

    def __call__(self, indices: Sequence[int]) -> bool:
        """Whether the constraint holds; `indices` may end after the last parameter it looks at."""
        key = self._key(indices)
        known = self._known.get(key)
        if known is None:
            if len(self._known) == KEPT:
                self._known.clear()
            known = self._known[key] = self._ask(indices)
        return known

    def _ask(self, indices: Sequence[int]) -> bool:
        c = self.constraint
        values = {p.name: p.values[indices[i]] for i, p in zip(self.looked_at, self._params, strict=True)}
        try:
            return all(c.holds(**{n: values[n] if n in values else s[n] for n in c.names}) for s in self._scopes)
        except ConfigError as e:
            raise ConfigError(f"constraint {c.name!r} failed: {e}") from e
        except Exception as e:
            raise ConfigError(f"constraint {c.name!r} failed on {values}: {type(e).__name__}: {e}") from e
