"""CuTe DSL: Python functions compiled by `nvidia-cutlass-dsl`."""

from __future__ import annotations

import importlib.metadata
import inspect
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.base import Emitted, Source, constant_values, tensors
from tuner.frontends.python_source import source_text
from tuner.gpu.target import Target
from tuner.outcome import CompileError, FailureClass
from tuner.search.tactic import Config

if TYPE_CHECKING:
    from tuner.kernel.problem import Problem

_TYPES = {
    "fp64": "Float64",
    "fp32": "Float32",
    "fp16": "Float16",
    "bf16": "BFloat16",
    "fp8e4nv": "Float8E4M3FN",
    "fp8e5": "Float8E5M2",
    "i64": "Int64",
    "i32": "Int32",
    "i16": "Int16",
    "i8": "Int8",
    "u8": "Uint8",
    "i1": "Boolean",
}
_ALIGNMENT = 16
"""Bytes that every TensorRT buffer is aligned to."""


@dataclass(frozen=True, eq=False)
class CuteDsl(Source):
    """A host function under `@cute.jit` that launches one kernel.

    Its parameters are a `cute.Pointer` for each input, `Int32` for each extra integer, a `cute.Pointer`
    for each output, then constants annotated `Constexpr`. The kernel it launches must take the same
    pointers and integers in the same order and nothing else at run time: layouts are made inside it. The
    block is what the host function launches it with; the grid is the `Launch`'s.
    """

    host: Any

    language = "CuTe DSL"

    def __post_init__(self) -> None:
        if not callable(self.host):
            raise ConfigError(f"CuteDsl takes a function under @cute.jit, not {self.host!r}")

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(n for n, constant in _parameters(self.host) if not constant)

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for n, constant in _parameters(self.host) if constant)

    def text(self) -> str:
        return source_text(self.host)

    def request(self, problem: Problem, config: Config, target: Target) -> Mapping[str, Any]:
        return {
            "constants": constant_values(problem, config),
            "types": [[_TYPES[problem.dtype(t)] for t in group] for group in tensors(problem)],
        }

    def emit(self, problem: Problem, config: Config, target: Target) -> Emitted:
        cutlass, cute = _import()
        self.text()  # compiling replaces the code of the functions, which could not be found in their file then
        from cutlass.cute.runtime import make_ptr

        request = self.request(problem, config, target)

        def pointers(names: Sequence[str]) -> list[Any]:
            memory = cute.AddressSpace.gmem
            return [make_ptr(getattr(cutlass, n), _ALIGNMENT, memory, assumed_align=_ALIGNMENT) for n in names]

        inputs, outputs = map(pointers, request["types"])
        integers = [cutlass.Int32(1)] * len(problem.launch(config).args)
        constants = [request["constants"][name] for name in problem.kernel.constants]
        major, minor = target.capability
        arch = f"sm_{major}{minor}{'a' * (major >= 9)}"
        with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
            options = f"--keep-ptx --gpu-arch={arch} --dump-dir={folder}"
            try:
                made = cute.compile(self.host, *inputs, *integers, *outputs, *constants, options=options)
            except Exception as e:
                raise CompileError(FailureClass.COMPILE, str(e).strip() or type(e).__name__) from e
        return Emitted(made.artifacts.PTX)

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
