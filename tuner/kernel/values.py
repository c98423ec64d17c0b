"""What an input holds when a kernel is checked and timed: rules for integers that are offsets, lengths or places.

A launch may depend on sizes only, never on what a tensor holds: TensorRT knows shapes when it launches, and no values.
Predictions do not look at values either: where a loop depends on them, the bytes of the problem tell how often it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tuner.errors import ConfigError
from tuner.kernel.expressions import Formula, read_formula

if TYPE_CHECKING:
    import numpy as np

RuleKind: TypeAlias = Literal["ascending", "lengths", "counts", "permutation", "below", "constant"]
Bound: TypeAlias = int | str
"""A number, a dimension or an attribute, or arithmetic on them: ``8``, ``"T"``, ``"2*T - 1"``."""

_SEPARATE: tuple[RuleKind, ...] = ("lengths", "below", "constant")


@dataclass(frozen=True)
class ValueRule:
    """A rule for the elements of an input. Made by `ascending`, `lengths` and the other functions of this module.

    Attributes:
        kind: the name of that function.
        bounds: its arguments.
    """

    kind: RuleKind
    bounds: tuple[Formula | float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions and attributes that its bounds name."""
        return tuple(dict.fromkeys(n for b in self.bounds if isinstance(b, Formula) for n in b.names))

    @property
    def separate(self) -> bool:
        """Whether each element is drawn on its own, so that a part of the tensor follows the rule as well."""
        return self.kind in _SEPARATE

    def evaluate(self, scope: Mapping[str, Any]) -> tuple[Any, ...]:
        """The bounds as numbers."""
        return tuple(b.evaluate(scope) if isinstance(b, Formula) else b for b in self.bounds)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.bounds))})"


DrawFunction: TypeAlias = "Callable[[np.random.Generator, Mapping[str, Any]], Any]"
Values: TypeAlias = "ValueRule | DrawFunction"
"""A rule, or a function of a random generator and the sizes and attributes by name; it returns the whole tensor."""


def ascending(low: Bound, high: Bound) -> ValueRule:
    """Declare integers that ascend along the last dimension, from `low` to `high`, both included.

    Neighbours may be equal. ``Tensor("i32", "B + 1", values=ascending(0, "T"))`` are offsets of B segments, some of
    them empty perhaps, that cover T elements.
    """
    return _rule("ascending", low, high)


def lengths(most: Bound) -> ValueRule:
    """Declare integers from 1 to `most`, each on its own: how much of a padded row is used."""
    return _rule("lengths", most)


def counts(total: Bound) -> ValueRule:
    """Declare integers from 0 on that add up to `total` along the last dimension: how many elements each part has."""
    return _rule("counts", total)


def permutation(size: Bound) -> ValueRule:
    """Declare integers from 0 to below `size`, none of them twice along the last dimension."""
    return _rule("permutation", size)


def below(size: Bound) -> ValueRule:
    """Declare integers from 0 to below `size`, each on its own: rows of a table, experts, pages."""
    return _rule("below", size)


def constant(value: Bound | float) -> ValueRule:
    """Declare that every element is the same."""
    if isinstance(value, float):
        return ValueRule("constant", (value,))
    return _rule("constant", value)


def _rule(kind: RuleKind, *bounds: Bound) -> ValueRule:
    for bound in bounds:
        if type(bound) is not int and not isinstance(bound, str):
            raise ConfigError(
                f"{kind}({bound!r}): expected a number, a dimension or arithmetic on them, such as 'T - 1'"
            )
    read = (Formula(b) if isinstance(b, int) else read_formula(b, kind) for b in bounds)
    return ValueRule(kind, tuple(read))
