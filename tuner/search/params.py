"""Tuned parameters: names with finite values, some of which apply only with a value of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tuner.errors import ConfigError
from tuner.search.tactic import Value


@dataclass(frozen=True)
class Param:
    """A tuned parameter and the values it may take, in order.

    Attributes:
        name: as the kernel spells it, or a launch option (`num_warps`, `num_stages`, …).
        values: distinct, of one type.
        when: a parameter declared earlier, and those of its values with which this one applies; with any other
            it is no part of a configuration, and the source, the launch and constraints see the first of its values.
            None: it always applies.
    """

    name: str
    values: tuple[Value, ...]
    when: tuple[str, tuple[Value, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"parameter {self.name!r} has no values")
        if len({type(v) for v in self.values}) > 1:
            raise ConfigError(f"parameter {self.name!r} mixes types: {list(self.values)}")
        if not isinstance(self.values[0], (int, float, bool, str)):
            raise ConfigError(f"parameter {self.name!r}: values must be int, float, bool or str")
        if len(set(self.values)) < len(self.values):
            raise ConfigError(f"parameter {self.name!r} repeats a value: {list(self.values)}")

    @property
    def ordered(self) -> bool:
        """Whether values next to each other are alike: true of numbers listed in ascending order."""
        numeric = not isinstance(self.values[0], (bool, str))
        return numeric and list(self.values) == sorted(self.values)

    def index(self, value: Value) -> int:
        """The position of a value; `ConfigError` when it is not one of the values."""
        position = self._positions.get(value) if type(value) is type(self.values[0]) else None
        if position is None:
            raise ConfigError(f"{self.name}={value!r} is not in the space; use one of {list(self.values)}")
        return position

    @cached_property
    def _positions(self) -> dict[Value, int]:
        return {v: i for i, v in enumerate(self.values)}


def choice(name: str, *values: Value) -> Param:
    """A parameter with the values as listed."""
    return Param(name, values)


def integers(name: str, low: int, high: int, step: int = 1) -> Param:
    """A parameter over ``low, low + step, …`` up to and including `high`."""
    return Param(name, tuple(range(low, high + 1, step)))


def powers_of_two(name: str, low: int, high: int) -> Param:
    """A parameter over the powers of two from `low` to `high`, both included."""
    return Param(name, tuple(1 << e for e in range(64) if low <= 1 << e <= high))
