"""Names for what is declared: tensors by the parameters that take them, nothing twice."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.adopt.tape import ARGUMENT, Tape
from tuner.kernel.kernel import RESERVED_NAMES

_VARIABLES = ("T", "U", "E", "Type")


class Names:
    """The names of one declaration.

    Attributes:
        memory: of the tensors, by the number of their memory.
        dims: of the dimensions, by what the call has for them.
        arguments: the arguments of the call that a kernel takes.
    """

    def __init__(
        self, tape: Tape, uses: Mapping[int, list[tuple[int, str]]], given: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> None:
        self._steps: list[str] = []
        for launch in tape.launches:
            plain = _plain(launch.name)
            number = sum(s == plain or s.startswith(f"{plain}_") for s in self._steps)
            self._steps.append(plain if not number else f"{plain}_{number + 1}")
        params = {p for launch in tape.launches for p in launch.arguments}
        self._taken: set[str] = set()
        self.memory: dict[int, str] = {}
        order = sorted(uses, key=lambda m: (tape.memory[m].origin != ARGUMENT, m))
        for memory in order:
            spelt = tensor_name(uses[memory][0][1])
            self.memory[memory] = self._unused(spelt)
            self._taken.add(self.memory[memory])
        self.arguments = [tape.memory[m].name for m in uses if tape.memory[m].origin == ARGUMENT]
        self.dims: dict[str, str] = {}
        constants = {p for launch in tape.launches for p in launch.constants}
        for dim, size in sizes.items():
            clash = dim in self._taken or (dim in constants and not _is_dim(tape, dim, size))
            self.dims[dim] = self._unused(f"{dim}_", params) if clash else dim
        self._taken.update(self.dims.values())
        self._params = params

    def step(self, number: int) -> str:
        """The name of a launch."""
        return self._steps[number]

    def free(self, name: str) -> str:
        """The name, or one like it that nothing has."""
        found = self._unused(name, self._params)
        self._taken.add(found)
        return found

    def free_variable(self) -> str:
        """A name for a dtype variable."""
        found = next(v for v in _VARIABLES if v not in self._taken and v not in self._params)
        self._taken.add(found)
        return found

    def _unused(self, name: str, others: Iterable[str] = ()) -> str:
        others = set(others)
        while name in self._taken or name in others or keyword.iskeyword(name) or name in RESERVED_NAMES:
            name += "_"
        return name


def _is_dim(tape: Tape, name: str, size: int) -> bool:
    return all(launch.arguments.get(name, size) == size for launch in tape.launches)


def _plain(name: str) -> str:
    """A kernel's name without what all kernels' names have."""
    short = name.strip("_").removesuffix("_kernel").removeprefix("triton_").removeprefix("kernel_")
    return short or name


def tensor_name(param: str) -> str:
    """What a tensor is called that a parameter takes."""
    name = param
    for suffix in ("_ptr", "_pointer"):
        name = name.removesuffix(suffix)
    return name.removeprefix("ptr_") or param
