"""Numba: Python functions compiled by `numba-cuda`.

Numba compiles what a function closes over as constants, so a tactic's values come through a function
that makes the kernel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from types import CodeType, SimpleNamespace
from typing import Any

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.base import Emitted, Source, Specialization
from tuner.frontends.binding import Declared, Order, arrange
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.python_source import source_text
from tuner.frontends.words import DType
from tuner.outcome import FailureClass, TacticError
from tuner.search.call_by_name import names_of


@dataclass(frozen=True, eq=False)
class Numba(Source):
    """A function that takes the constants by name and returns the kernel.

    The kernel is a plain function of pointers and 32-bit integers, in any order where it is the only function inside;
    otherwise in that of the launch: inputs, extra integers, outputs. A dtype variable among the constants is the
    Numba type.

    Example:
        ::

            def increment(amount, VECTOR):
                def kernel(x, n, y):
                    first = cuda.grid(1) * VECTOR
                    for i in range(first, min(first + VECTOR, n)):
                        y[i] = x[i] + amount
                return kernel

            Kernel(source=Numba(increment), …)
    """

    make: Callable[..., Callable[..., None]]
    order: Order | None = None

    language = "Numba"
    takes_types = True

    def __post_init__(self) -> None:
        names_of(self.make)

    @property
    def parameters(self) -> tuple[str, ...] | None:
        code = getattr(self.make, "__code__", None)
        inside = [c for c in getattr(code, "co_consts", ()) if isinstance(c, CodeType)]
        return inside[0].co_varnames[: inside[0].co_argcount] if len(inside) == 1 else None

    def bind(self, declared: Declared) -> Numba:
        return self if self.parameters is None else replace(self, order=arrange(self.parameters, declared))

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        return names_of(self.make)

    def spell(self, value: Any) -> Any:
        return getattr(_import()[1], _type_name(value)) if isinstance(value, DType) else value

    def text(self) -> str:
        return source_text(self.make)

    def emit(self, specialization: Specialization) -> Emitted:
        cuda, types = _import()
        inputs, outputs = (
            [types.CPointer(getattr(types, _type_name(name))) for name in group]
            for group in (specialization.inputs, specialization.outputs)
        )
        integers = [types.int32] * len(specialization.integers)
        dtypes = {v: getattr(types, _type_name(d)) for v, d in specialization.dtypes.items()}
        constants = {
            name: self.spell(DType(str(value))) if name in specialization.types else value
            for name, value in specialization.constants.items()
        }
        values = {**dtypes, **constants}
        bounds = None if specialization.block is None else prod(specialization.block)
        try:
            kernel = self.make(**{name: values[name] for name in names_of(self.make)})
            signature = self._ordered((*inputs, *integers, *outputs))
            with _device_functions_for(specialization.capability):
                text, _ = cuda.compile_ptx(kernel, signature, cc=specialization.capability, launch_bounds=bounds)
        except Exception as e:
            raise TacticError(FailureClass.COMPILE, _explain(e)) from e
        # The name that Numba gives depends on where the file lies and on what was compiled before it.
        order = self.order.positions(self.parameters) if self.order and self.parameters else None
        return Emitted(_ENVIRONMENT.sub("", text), order=order, entry=self.make.__name__)

    def _ordered(self, types: tuple[Any, ...]) -> tuple[Any, ...]:
        """The types of the launch's arguments, in the order of the code."""
        if self.order is None or self.parameters is None:
            return types
        named = dict(zip(self.order.names, types, strict=True))
        return tuple(named[p] for p in self.parameters)

    def tools(self) -> Mapping[str, str]:
        _import()
        versions = {name: importlib.metadata.version(name) for name in ("numba-cuda", "numba")}
        return {**versions, "nvvm": _nvvm()}


@contextmanager
def _device_functions_for(capability: tuple[int, int]) -> Iterator[None]:
    """Compile functions under `@cuda.jit(device=True)` for a target too; Numba asks the driver what GPU is there."""
    dispatcher: Any = importlib.import_module("numba.cuda.dispatcher")
    ask = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = ask


def _nvvm() -> str:
    """The version of the compiler behind Numba: that of its package, or of the CUDA toolkit's library."""
    try:
        return importlib.metadata.version("nvidia-nvvm")
    except importlib.metadata.PackageNotFoundError:
        library: Any = importlib.import_module("numba.cuda.cudadrv.nvvm")
        major, minor = library.NVVM().get_version()
        return f"{major}.{minor} of the toolkit"


_ENVIRONMENT = re.compile(r"^\.common \.global .*NumbaEnv.*;\n", re.MULTILINE)


def _type_name(dtype: str) -> str:
    if not DTYPES[dtype].numba:
        known = ", ".join(name for name, d in DTYPES.items() if d.numba)
        raise ConfigError(f"Numba has no pointers to {dtype}; use one of {known}")
    return DTYPES[dtype].numba


def _import() -> tuple[Any, Any]:
    try:
        import numba_cuda  # noqa: F401
        from numba import cuda, types
    except ImportError as e:
        raise UnavailableError(f"Numba kernels need numba-cuda ({e}); pip install 'qdp-tuner[numba]'") from None
    return cuda, types


def _explain(error: Exception) -> str:
    """Numba's message, its first telling line first."""
    lines = [line.rstrip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Failed in", "During:", "- "))]
    end = 2 if telling and telling[0].endswith(":") else 1
    return "\n".join([" ".join(telling[:end]), *lines]) if telling else type(error).__name__
