"""A space that cannot be counted: one constraint over many parameters."""

from __future__ import annotations

from collections.abc import Callable

from tuner.search.constraints import Constraint
from tuner.search.params import choice, powers_of_two
from tuner.search.space import Space
from tuner.search.tactic import Value

NAMES = tuple(f"u{i}" for i in range(11))
ONES: dict[str, Value] = {"BLOCK": 1024, **dict.fromkeys(NAMES, 1)}


def wide(holds: Callable[[int], bool]) -> Space:
    """4e11 combinations, and one constraint on the sum of eleven parameters, each of 1 to 10."""

    def on_the_sum(**values: int) -> bool:
        return holds(sum(values.values()))

    params = (powers_of_two("BLOCK", 256, 2048), *(choice(name, *range(1, 11)) for name in NAMES))
    return Space(params, (Constraint("budget", on_the_sum, "more than the budget", NAMES),))
