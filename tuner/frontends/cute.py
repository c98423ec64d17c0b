"""CuTe DSL: Python functions compiled by `nvidia-cutlass-dsl`."""

from __future__ import annotations

import importlib.metadata
import inspect
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.base import ALIGNMENT, Emitted, Source, Specialization
from tuner.frontends.binding import Declared, Order, arrange
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.python_source import source_text
from tuner.frontends.words import DType
from tuner.gpu.catalog import architecture_name
from tuner.outcome import FailureClass, TacticError


@dataclass(frozen=True, eq=False)
class CuteDsl(Source):
    """A host function under `@cute.jit` that launches one kernel.

    Its parameters are a `cute.Pointer` for each input and output, `Int32` for each extra integer, and constants
    annotated `Constexpr`. The kernel it launches must take the same
    pointers and integers in the same order and nothing else at run time: layouts are made inside it. The
    block is what the host function launches it with; the grid is the `Launch`'s.
    """

    host: Any
    order: Order | None = None

    language = "CuTe DSL"

    def __post_init__(self) -> None:
        if not callable(self.host):
            raise ConfigError(f"CuteDsl takes a function under @cute.jit, not {self.host!r}")

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(n for n, constant in _parameters(self.host) if not constant)

    def bind(self, declared: Declared) -> CuteDsl:
        return replace(self, order=arrange(self.parameters, declared))

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for n, constant in _parameters(self.host) if constant)

    def spell(self, value: Any) -> Any:
        return getattr(_import()[0], DTYPES[value].cute) if isinstance(value, DType) else value

    def text(self) -> str:
        return source_text(self.host)

    def emit(self, specialization: Specialization) -> Emitted:
        cutlass, cute = _import()
        self.text()  # compiling replaces the code of the functions, which could not be found in their file then
        from cutlass.cute.runtime import make_ptr

        def pointers(names: Sequence[str]) -> list[Any]:
            memory, types = cute.AddressSpace.gmem, [getattr(cutlass, DTYPES[name].cute) for name in names]
            return [make_ptr(t, ALIGNMENT, memory, assumed_align=ALIGNMENT) for t in types]

        inputs, outputs = pointers(specialization.inputs), pointers(specialization.outputs)
        integers = [cutlass.Int32(1)] * len(specialization.integers)
        passed = dict(zip(self.arguments or (), (*inputs, *integers, *outputs), strict=True))
        typed = {name: self.spell(DType(str(specialization.constants[name]))) for name in specialization.types}
        constants = [{**specialization.constants, **typed}[name] for name in self.constants(())]
        arch = architecture_name(specialization.capability)
        with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
            options = f"--keep-ptx --gpu-arch={arch} --dump-dir={folder}"
            try:
                made = cute.compile(self.host, *(passed[p] for p in self.parameters), *constants, options=options)
            except Exception as e:
                raise TacticError(FailureClass.COMPILE, str(e).strip() or type(e).__name__) from e
        order = None if self.order is None else self.order.positions(self.parameters)
        return Emitted(made.artifacts.PTX, order=order)

    def tools(self) -> Mapping[str, str]:
        _import()
        return {"nvidia-cutlass-dsl": importlib.metadata.version("nvidia-cutlass-dsl")}


def _parameters(host: Any) -> list[tuple[str, bool]]:
    """Each parameter of a host function and whether it is a compile-time constant."""
    parameters = inspect.signature(host).parameters.values()
    return [(p.name, "Constexpr" in str(getattr(p.annotation, "__name__", p.annotation))) for p in parameters]


def _import() -> tuple[Any, Any]:
    try:
        import cutlass
        from cutlass import cute
    except ImportError as e:
        mend = "pip install 'qdp-tuner[cute]'"
        raise UnavailableError(f"CuTe DSL kernels need nvidia-cutlass-dsl ({e}); {mend}") from None
    return cutlass, cute
