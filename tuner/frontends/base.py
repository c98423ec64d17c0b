"""What a kernel's source is asked, whatever language it is written in.

A front end is one class: it says which of the declared names its source takes as constants, what identifies the
source, and what PTX a tactic becomes. All the rest is the same for every front end: `tuner.compile.tactic`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from tuner.errors import ConfigError
from tuner.gpu.target import Target
from tuner.kernel.tensor import Tensor
from tuner.search.tactic import Config, Value

if TYPE_CHECKING:
    from tuner.kernel.kernel import Kernel
    from tuner.kernel.problem import Problem

NO_OPTIONS: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True)
class Emitted:
    """What a front end makes of one tactic.

    Attributes:
        text: a PTX module with one entry.
        block: threads per block along x, y and z, where the compiler decides; None: the launch, or the PTX, says.
        shared_bytes: dynamic shared memory, where the compiler decides; None: the launch says.
        hidden: whether the entry's parameters may be followed by others, which no launch passes.
        scratch_bytes: of the kernel's scratch memory, what each block uses.
        ptxas: arguments for the assembler.
    """

    text: str
    block: tuple[int, int, int] | None = None
    shared_bytes: int | None = None
    hidden: bool = False
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
    """

    language: ClassVar[str]
    options: ClassVar[Mapping[str, Value]] = NO_OPTIONS
    interpreted: ClassVar[bool] = False
    takes_types: ClassVar[bool] = False
    sized_by_launch: ClassVar[bool] = True

    def chosen(self, kernel: Kernel, config: Config) -> tuple[Kernel, Config]:
        """The kernel that a configuration runs, where there are alternatives, and what of it is that kernel's own."""
        return kernel, config

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """The run-time parameters by name: inputs, extra integers, outputs. None: only the PTX tells."""
        return None

    @abstractmethod
    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        """The compile-time parameters by name; `declared` are those of the kernel's parameters and attributes."""

    @abstractmethod
    def text(self) -> str:
        """What identifies the source: it changes when the code does, and not with comments or layout.

        Raises:
            ConfigError: when the source cannot be read.
        """

    @abstractmethod
    def request(self, problem: Problem, config: Config, target: Target) -> Mapping[str, Any]:
        """All that decides the PTX of a tactic besides `text` and `tools`, as plain data.

        Raises:
            ConfigError, UnavailableError: when no tactic of the problem can be compiled.
        """

    @abstractmethod
    def emit(self, problem: Problem, config: Config, target: Target) -> Emitted:
        """Compile a tactic to PTX.

        Raises:
            CompileError: when the tactic cannot be compiled.
            ConfigError, UnavailableError: when no tactic of the problem can be compiled.
        """

    @abstractmethod
    def tools(self) -> Mapping[str, str]:
        """Names and versions of what compiles it, the assembler excepted.

        Raises:
            UnavailableError: when a package it needs is not installed.
        """


def tensors(problem: Problem) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs and the outputs of a problem's kernel."""
    return list(problem.kernel.inputs.values()), list(problem.kernel.outputs.values())


def constant_values(problem: Problem, config: Config) -> dict[str, Value]:
    """The value of every constant of a problem's source.

    Raises:
        ConfigError: when one of them is a dimension that has a range.
    """
    sizes, names = problem.sizes(), problem.kernel.constants
    for dim in names:
        if dim in sizes and not all(r.fixed for r in problem.dims[dim]):
            raise ConfigError(
                f"{problem}: the source takes dimension {dim!r} as a constant, so it needs one size, not a range; "
                "pass it as an extra integer of the launch to keep it dynamic"
            )
    values = {**sizes, **problem.attributes, **problem.kernel.space.complete(config)}
    return {name: values[name] for name in names if name in values}
