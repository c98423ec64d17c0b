"""What was found out about a host function: all that its declaration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INPUT, WORKSPACE, OUTPUT = "input", "workspace", "output"


@dataclass
class FoundTensor:
    """A tensor of the operator.

    Attributes:
        name: as it is declared.
        role: `INPUT`, `WORKSPACE` or `OUTPUT`.
        dtype, shape: as `Tensor` takes them.
        start: what it is filled with before a kernel gets it; None: nothing.
        alias: the input that this output is in the place of.
        values: what an input of integers holds, as `Tensor` takes it.
        result: its place among the tensors that the function returns; None where it returns it not.
    """

    name: str
    role: str
    dtype: str
    shape: str
    start: float | None = None
    alias: str = ""
    values: str = ""
    result: int | None = None


@dataclass
class FoundLaunch:
    """A launch of the operator.

    Attributes:
        name: of the kernel, without what all such names have.
        module, attribute: where the kernel is found, as it is decorated.
        tuned: whether an autotuner lists its configs.
        inputs, outputs: for each parameter that takes a tensor, the tensor.
        grid: blocks along each axis, as text.
        arguments: the integers that it passes, as text, by parameter.
        constants: what is compiled in, as text, by parameter.
        absent: parameters that get None.
        attributes: the values of attributes of the operator that it takes.
        params: its tuned parameters, as text, by name.
        default: what they are by default.
    """

    name: str
    module: str
    attribute: str
    tuned: bool
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    grid: tuple[str, ...] = ("1",)
    arguments: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    default: dict[str, Any] = field(default_factory=dict)


@dataclass
class Found:
    """All of it.

    Attributes:
        tensors: by name, inputs first.
        launches: in order.
        sizes: of the dimensions, as given.
        steps: what a dimension has to be a multiple of, where that is more than 1; -1 for a power of two.
        dtypes: the types that each dtype variable was seen to stand for.
        chosen: the one that was given.
        shared: parameters that more than one launch, or an extent, depends on.
        arguments: for each input that is an argument of the call, that argument.
        scalars: for each argument of the call that is an attribute, the attribute.
        todo: what could not be worked out, with what was seen.
        notes: what was taken for granted.
    """

    tensors: dict[str, FoundTensor] = field(default_factory=dict)
    launches: list[FoundLaunch] = field(default_factory=list)
    sizes: Mapping[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    dtypes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    scalars: dict[str, str] = field(default_factory=dict)
    todo: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, *roles: str) -> list[FoundTensor]:
        return [t for t in self.tensors.values() if t.role in roles]

    @property
    def attributes(self) -> dict[str, Any]:
        return {name: value for launch in self.launches for name, value in launch.attributes.items()}

    def ask(self, line: str) -> None:
        """Note something that is left to be done."""
        if line not in self.todo:
            self.todo.append(line)
