"""The kernel that a launch runs, as its module has it: under its decorators."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any


def place_of(function: Any) -> tuple[str, str, Any]:
    """The module and the name under which a `@triton.jit` function is found, and what is there.

    What is found is the outermost decorator's object. The name is empty where no module has it.
    """
    name = function.fn.__name__
    homes = [sys.modules.get(function.fn.__module__), *sys.modules.values()]
    for module in homes:
        if module is None or (module is not homes[0] and name not in _variables(module)):
            continue
        variables = _variables(module)
        candidates = {name: variables.get(name), **(variables if module is homes[0] else {})}
        for attribute, value in candidates.items():
            if value is not None and any(part is function for part in chain_of(value)):
                return module.__name__, attribute, value
    return function.fn.__module__, "", function


def chain_of(value: Any) -> Iterator[Any]:
    """An object and what it is wrapped around, from the outside in."""
    for _ in range(10):
        yield value
        inner = getattr(value, "fn", None)
        if inner is None or inner is value:
            return
        value = inner


def configs_of(value: Any) -> list[Any]:
    """The configs that an autotuner lists; none without one."""
    for part in chain_of(value):
        configs = getattr(part, "configs", None)
        if isinstance(configs, list) and configs and hasattr(configs[0], "kwargs"):
            return configs
    return []


def heuristics_of(value: Any) -> Mapping[str, Any]:
    """The constants that heuristics compute."""
    found: dict[str, Any] = {}
    for part in chain_of(value):
        values = getattr(part, "values", None)
        if isinstance(values, dict):
            found.update(values)
    return found


def resets_of(value: Any) -> tuple[list[str], list[str]]:
    """The parameters whose tensors an autotuner sets to zero, or restores, before each launch."""
    for part in chain_of(value):
        if hasattr(part, "reset_to_zero"):
            return list(part.reset_to_zero or ()), list(getattr(part, "restore_value", None) or ())
    return [], []


def _variables(module: Any) -> Mapping[str, Any]:
    found = getattr(module, "__dict__", {})
    return found if isinstance(found, dict) else {}
