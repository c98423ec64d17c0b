"""What was seen while a host function ran: tensors, and what happened to them, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

ARGUMENT, EMPTY, COMPUTED = "argument", "empty", "computed"
"""Where memory comes from: the call, an allocation, or an operation that no kernel does."""


@dataclass(frozen=True)
class Allocation:
    """Memory that a tensor lies in.

    Attributes:
        origin: one of `ARGUMENT`, `EMPTY` and `COMPUTED`.
        name: of the argument, or of the operation that made it.
        dtype, shape: of the tensor that it was made for.
    """

    origin: str
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A tensor as a launch or a result has it.

    Attributes:
        memory: the number of its allocation.
        dtype: its data type.
        shape, strides: in elements.
        offset: of its first element in the memory.
    """

    memory: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def whole(self) -> bool:
        """Whether it is row major, without gaps, from the start of the memory."""
        expected = tuple(prod(self.shape[i + 1 :]) for i in range(len(self.shape)))
        steps = zip(self.shape, self.strides, expected, strict=True)
        return self.offset == 0 and all(size == 1 or stride == plain for size, stride, plain in steps)


@dataclass(frozen=True)
class DataType:
    """A data type that was passed as a value."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """A value of which nothing is known but how it came about."""

    text: str


@dataclass(frozen=True, eq=False)
class SeenLaunch:
    """One launch of a kernel.

    Attributes:
        function: the `@triton.jit` function.
        arguments: the value of each parameter: a `View`, a number, a word, a `DataType`, None, an `Opaque`, or a tuple.
        constants: the parameters that were compiled in, or are annotated so.
        grid: blocks along each axis.
        options: launch options: `num_warps`, `num_stages`, `num_ctas`, `maxnreg`.
        binary: what the compiler made: "ptx" as text, and the "parameters" that its entry takes.
    """

    function: Any
    arguments: Mapping[str, Any]
    constants: frozenset[str]
    grid: tuple[int, int, int]
    options: Mapping[str, int]
    binary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.function.__name__)


@dataclass(frozen=True)
class SeenFill:
    """All elements of a tensor got one value."""

    view: View
    value: float


@dataclass(frozen=True)
class SeenOperation:
    """Something that no kernel of the module does.

    Attributes:
        name: what was called, for example ``aten.sum``.
        reads, writes: the memory that it looks at and makes or changes.
    """

    name: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]


SeenEvent: TypeAlias = SeenLaunch | SeenFill | SeenOperation


@dataclass
class Tape:
    """One run of the function.

    Attributes:
        sizes: the size of each dimension.
        memory: what was allocated, by number; the arguments come first.
        events: what happened, in order.
        returned: the tensors among what the function returned, in order.
        problems: what could not be followed, in words.
    """

    sizes: Mapping[str, int]
    memory: list[Allocation] = field(default_factory=list)
    events: list[SeenEvent] = field(default_factory=list)
    returned: tuple[View, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def launches(self) -> list[SeenLaunch]:
        return [e for e in self.events if isinstance(e, SeenLaunch)]

    def note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
