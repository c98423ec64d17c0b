"""Which parameter of a source takes which tensor and which integer of a launch.

A launch passes inputs, extra integers and outputs, in this order; a source has its parameters in whatever order its
author liked. They are told apart by name, and the compiled code is put into the launch's order afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import ConfigError


@dataclass(frozen=True)
class Declared:
    """The names that a kernel declares, as far as a source is told them.

    Attributes:
        inputs, outputs: the tensors, in the order of the launch.
        params: the tuned parameters.
        attributes: with their default values.
        dims: the dimensions.
        absent: run-time parameters that are compiled in as None.
        blocks: the block shape of each tensor that the code takes as a descriptor made by the host.
        passed: the run-time parameters that the launch passes by name, or how many it passes in order. None: the
            launch cannot be asked before there is a problem.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dims: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    blocks: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    passed: Collection[str] | int | None = None


@dataclass(frozen=True)
class Order:
    """A source's run-time parameters as a launch passes them.

    Attributes:
        inputs, integers, outputs: the parameters that take them.
        scalars: all that take no tensor, in the order of the code. A launch may list all of these, too, though some
            have a value already.
        extents: integers that follow those of the launch: the extents of tensors that descriptors are made of.
    """

    inputs: tuple[str, ...]
    integers: tuple[str, ...]
    outputs: tuple[str, ...]
    scalars: tuple[str, ...]
    extents: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the launch's order."""
        return (*self.inputs, *self.integers, *self.extents, *self.outputs)

    def positions(self, parameters: Sequence[str]) -> tuple[int, ...]:
        """Which of the code's parameters each argument of the launch goes to."""
        return tuple(parameters.index(name) for name in self.names)


def spellings(tensor: str) -> tuple[str, ...]:
    """The names that a parameter may have to take a tensor by name."""
    return (tensor, *(f"{tensor}_{kind}" for kind in ("ptr", "pointer", "desc")), f"ptr_{tensor}", f"desc_{tensor}")


def arrange(
    parameters: Sequence[str],
    declared: Declared,
    valued: Mapping[str, Any] | None = None,
    settled: Collection[str] = (),
) -> Order:
    """Tell a source's run-time parameters apart.

    Tensors go to the parameters of their names, in any order. Where some have no such parameter, the first parameters
    take the inputs and the last ones the outputs, as long as that contradicts no name. The launch passes all others,
    except those that have a value without it.

    Args:
        parameters: their names, in the order of the code.
        declared: the kernel's names.
        valued: the parameters that the launch need not pass, with what is compiled in then: an attribute, a default.
        settled: parameters that it cannot pass, since something else decides them.

    Raises:
        ConfigError: when a tensor finds no parameter, with what every parameter takes.
    """
    valued = valued or {}
    able = [p for p in parameters if p not in declared.absent and p not in settled]
    tensors = _tensors(able, declared, valued)
    scalars = [p for p in able if p not in tensors.values()]
    needed = [p for p in scalars if p not in valued]
    listed = [p for p in scalars if p not in valued or valued[p] is not None]  # None: a pointer that is absent
    if isinstance(declared.passed, int):
        passed = listed if declared.passed == len(listed) else needed
    else:
        passed = [p for p in scalars if p in needed or p in (declared.passed or ())]
    integers = [p for p in passed if type(valued.get(p)) is not float]  # which no launch passes
    first, last = (tuple(tensors[t] for t in group) for group in (declared.inputs, declared.outputs))
    return Order(first, tuple(integers), last, tuple(listed))


def _tensors(parameters: Sequence[str], declared: Declared, valued: Collection[str]) -> dict[str, str]:
    """The parameter that takes each tensor."""
    names = (*declared.inputs, *declared.outputs)
    found = {t: next((s for s in spellings(t) if s in parameters), None) for t in names}
    named = {t: p for t, p in found.items() if p is not None}
    if len(named) == len(names) == len(set(named.values())):
        return named
    free = [p for p in parameters if p not in valued or p in named.values()]
    if len(free) >= len(names):
        last = free[len(free) - len(declared.outputs) :]
        placed = dict(zip(names, (*free[: len(declared.inputs)], *last), strict=True))
        if all(placed[t] == p for t, p in named.items()):
            return placed
    shown = ", ".join(f"{t!r} by {named[t]}" if t in named else f"{t!r} by none" for t in names)
    rest = [p for p in parameters if p not in named.values()]
    raise ConfigError(
        f"the source's parameters do not tell which takes which tensor: {shown}; left are {', '.join(rest) or 'none'}"
        ". Name each tensor as the parameter that takes it (with or without _ptr), or "
        "have all inputs first and all outputs last"
    )
