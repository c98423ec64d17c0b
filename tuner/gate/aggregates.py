"""Aggregates, Triton's structures of values, as the interpreter runs them.

`triton.language.core._aggregate` takes over the methods of a class that are compiled, and leaves out those that are
interpreted (Triton 3.6 to 3.9). Here it takes over these too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def prepare() -> None:
    """Let classes that are made aggregates from now on in this process have the methods that are interpreted."""
    from triton.language import core

    if core._aggregate.__module__ == core.__name__:
        core._aggregate = _with_methods(core._aggregate)


def _with_methods(decorate: Callable[[type], type]) -> Callable[[type], type]:
    from tuner.gate.internals import interpreter

    @functools.wraps(decorate, assigned=("__name__", "__doc__"))
    def aggregate(cls: type) -> type:
        made = decorate(cls)
        for name, member in inspect.getmembers(cls, lambda m: isinstance(m, interpreter.InterpretedFunction)):
            static = isinstance(inspect.getattr_static(cls, name), staticmethod)
            setattr(made, name, staticmethod(_method(member)) if static else _method(member))
        return made

    return aggregate


def _method(interpreted: Any) -> Callable[..., Any]:
    """A plain function, which Python binds to the object that it is looked up in."""

    @functools.wraps(interpreted.fn)
    def call(*args: Any, **named: Any) -> Any:
        return interpreted(*args, **named)

    return call
