"""What a kernel's source is asked, whatever language it is written in.

A front end is one class: it says which of the declared names its source takes as constants, what identifies the
source, and what PTX a `Specialization` of it becomes. All the rest is the same for every front end:
`tuner.compile.pipeline`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from tuner.frontends.binding import Declared, Order
from tuner.gpu.target import Dim3
from tuner.search.tactic import Value

ALIGNMENT = 16
"""Bytes that every TensorRT buffer is aligned to, and the divisor of extra integers that compilers ask about."""

Heuristic: TypeAlias = Callable[[dict[str, Any]], Any]
"""The value of a constant, from all other arguments of the source by name."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class IntegerFacts:
    """What code may rely on of an extra integer, whatever the dimensions.

    Compilers fold the number 1 and widen accesses for multiples of `ALIGNMENT`. Nothing else is told, so that shapes
    between which code cannot tell share it.

    Attributes:
        one: whether it is always 1.
        aligned: whether it is always a multiple of `ALIGNMENT`.
    """

    one: bool
    aligned: bool


@dataclass(frozen=True)
class Specialization:
    """All that decides the PTX that a source becomes, as plain data. Made by `Problem.specialize`.

    Attributes:
        inputs, outputs: data types of the tensors, in the order of the kernel's parameters.
        dtypes: each dtype variable's data type.
        constants: what is compiled in, by name.
        types: which of the constants are data types.
        options: a value for each of the source's `options`.
        integers: what is known of the extra integers between inputs and outputs.
        block: threads per block, where the launch says.
        scratch: whether the kernel has scratch memory, its last output.
        appended: whether no parameter of the source takes it, so that it is none of `outputs`.
        capability: compute capability of the device to compile for.
        newest_ptx: (major, minor) of the newest PTX that both the assembler and the driver take.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: Mapping[str, str]
    constants: Mapping[str, Value]
    types: tuple[str, ...]
    options: Mapping[str, Value]
    integers: tuple[IntegerFacts, ...]
    block: Dim3 | None
    scratch: bool
    appended: bool
    capability: tuple[int, int]
    newest_ptx: tuple[int, int]


@dataclass(frozen=True)
class Emitted:
    """What a front end makes of a specialization, and what is to be done to its PTX before it can be launched.

    Attributes:
        text: a PTX module with one entry.
        order: for each argument of the launch, which of the entry's parameters takes it; None in it: none, since
            it is compiled in. Parameters that it does not name are removed, so the code must not look at them.
            None: the parameters stand as the launch passes them.
        entry: the name that the entry is to have; None: the one it has.
        block: threads per block, where the compiler decides; None: the launch, or the PTX, says.
        shared_bytes: dynamic shared memory, where the compiler decides; None: the launch says.
        scratch_bytes: of the kernel's scratch memory, what each block uses.
        ptxas: arguments for the assembler.
    """

    text: str
    order: tuple[int | None, ...] | None = None
    entry: str | None = None
    block: Dim3 | None = None
    shared_bytes: int | None = None
    scratch_bytes: int = 0
    ptxas: tuple[str, ...] = ()


class Source(ABC):
    """The source of a kernel in one language.

    Attributes:
        language: as it is shown.
        options: parameters that belong to the launch and not to the code, and the compiler's values for them.
        interpreted: whether the correctness gate can run it without a GPU.
        takes_types: whether dtype variables may be among the constants.
        sized_by_launch: whether the launch says how many threads a block has, and not the compiler.
        order: which parameter takes what a launch passes; None: they stand as it passes them.
        fixed: parameters that are compiled in with the same value in every tactic.
        blocks: the block shape of each parameter that is a tensor descriptor made by the host.
        heuristics: compile-time parameters that follow from all other arguments; each sees those before it.
    """

    language: ClassVar[str]
    options: ClassVar[Mapping[str, Value]] = NOTHING
    interpreted: ClassVar[bool] = False
    takes_types: ClassVar[bool] = False
    sized_by_launch: ClassVar[bool] = True
    order: Order | None = None
    fixed: Mapping[str, Any] = NOTHING
    heuristics: Mapping[str, Heuristic] = NOTHING
    blocks: Mapping[str, tuple[str | int, ...]] = NOTHING

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """The run-time parameters by name, in the order of the code. None: only the PTX tells."""
        return None

    @property
    def scratch_bytes(self) -> int:
        """How much scratch memory each block uses at most, of which no parameter speaks."""
        return 0

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The run-time parameters by name as a launch passes them: inputs, extra integers, outputs.

        None: only the PTX tells.
        """
        return self.parameters if self.order is None else self.order.names

    def bind(self, declared: Declared) -> Source:
        """This source with its parameters told apart by a kernel's names; itself where it does not tell their names.

        Raises:
            ConfigError: when the names do not fit its parameters.
        """
        return self

    @abstractmethod
    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        """The compile-time parameters that a kernel has to declare, by name.

        Args:
            declared: the kernel's tuned parameters and attributes.
        """

    def check_parameters(  # noqa: B027
        self, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> None:
        """Refuse run-time parameters that cannot take what a launch passes, as far as the source tells.

        Args:
            inputs, outputs: the names of the tensors.
            attributes: the kernel's, with their default values.

        Raises:
            ConfigError: with what to do.
        """

    def spell(self, value: Any) -> Any:
        """A constant as the code sees it: a `DType` as a data type of the language."""
        return value

    @abstractmethod
    def text(self) -> str:
        """What identifies the source: it changes when the code does, and not with comments or layout.

        Raises:
            ConfigError: when the source cannot be read.
        """

    @abstractmethod
    def tools(self) -> Mapping[str, str]:
        """Names and versions of what compiles it, the assembler excepted.

        Raises:
            UnavailableError: when a package it needs is not installed.
        """

    def environment(self) -> Mapping[str, str]:
        """The environment variables that decide what its compiler makes, those that are set.

        `tuner.workers.environment` keeps some from every compiler; the others are part of a compile's key.
        """
        return {}

    @abstractmethod
    def emit(self, specialization: Specialization) -> Emitted:
        """Compile it to PTX.

        Raises:
            TacticError: when the tactic cannot be compiled.
            ConfigError, UnavailableError: when no tactic of the problem can be compiled.
        """
