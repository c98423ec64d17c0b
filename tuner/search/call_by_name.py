"""Functions that ask for what they need by parameter name, and hints for misspelt names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tuner.errors import ConfigError, did_you_mean

T = TypeVar("T")


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names a function asks for: its parameters without a default value.

    Raises:
        ConfigError: for what is no function, `*args`, `**kwargs` and the like.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(
            f"{describe(function)} does not say what it takes; write a function that names each value it needs"
        ) from None
    for p in parameters:
        if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            raise ConfigError(f"{describe(function)} takes {p}; name each value it needs instead")
    return tuple(p.name for p in parameters if p.default is p.empty)


def call(function: Callable[..., T], scope: Mapping[str, Any]) -> T:
    """Call a function with the values of `scope` that it names."""
    return function(**{name: scope[name] for name in names_of(function)})


def require_known(function: Callable[..., Any], known: Iterable[str], where: str) -> None:
    """Raise `ConfigError` when a function names something that `known` lacks."""
    known = list(known)
    for name in names_of(function):
        if name not in known:
            raise ConfigError(f"{where} names {name!r}, which is not declared{did_you_mean(name, known)}")


def describe(function: Callable[..., Any]) -> str:
    """A function's name and the place it is written at."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", repr(function))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
