"""Front ends: the languages a kernel's source may be written in. Each is imported when it is first used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.frontends.base import Source

if TYPE_CHECKING:
    from tuner.frontends.cuda_cpp import CudaCpp
    from tuner.frontends.cute import CuteDsl
    from tuner.frontends.numba import Numba
    from tuner.frontends.ptx import Ptx
    from tuner.frontends.triton import TritonSource
    from tuner.frontends.triton_wrappers import Unwrapped


@dataclass(frozen=True)
class Language:
    """Where a front end is, and what it needs.

    Attributes:
        name: as it is shown.
        module: of this package.
        imports: top-level modules of its compiler that kernel files import.
        extra: what installs its compiler; "" where nothing has to be installed.
    """

    name: str
    module: str
    imports: tuple[str, ...] = ()
    extra: str = ""


LANGUAGES = {
    "CudaCpp": Language("CUDA C++", "cuda_cpp", (), "cuda-cpp"),
    "Numba": Language("Numba", "numba", ("numba", "numba_cuda"), "numba"),
    "CuteDsl": Language("CuTe DSL", "cute", ("cutlass",), "cute"),
    "Ptx": Language("PTX", "ptx"),
}
"""The front ends by the name of their class; Triton's and Gluon's
need none, since their functions are declared as they are."""

EXTRAS = {module: language.extra for language in LANGUAGES.values() for module in language.imports}
"""Modules that kernel files import, and the extra that installs each."""


def as_source(source: Any) -> Source:
    """The front end's view of what a kernel declares: a `Source` itself, or Triton's or Gluon's of a function.

    Raises:
        ConfigError: for anything else, and for a function under `@triton.autotune`, whose configs would be dropped.
    """
    if isinstance(source, Source):
        return source
    from tuner.frontends.triton_wrappers import unwrap

    found = unwrap(source)
    if found.autotuner is not None:
        raise ConfigError(
            "the source is under @triton.autotune, whose configs are a space of their own: declare it with "
            "Kernel.from_autotune(…), without params"
        )
    return triton_source(found)


def triton_source(found: Unwrapped) -> TritonSource:
    """The source of a function under `@triton.jit`, or `@gluon.jit`, and its heuristics."""
    from tuner.frontends.gluon import GluonSource
    from tuner.frontends.triton import TritonSource
    from tuner.frontends.triton_wrappers import is_gluon

    kind = GluonSource if is_gluon(found.jit) else TritonSource
    return kind(found.jit, heuristics=found.heuristics)


def __getattr__(name: str) -> Any:
    if name in LANGUAGES:
        return getattr(importlib.import_module(f"tuner.frontends.{LANGUAGES[name].module}"), name)
    raise AttributeError(f"module 'tuner.frontends' has no attribute {name!r}")


__all__ = [
    "EXTRAS",
    "LANGUAGES",
    "CudaCpp",
    "CuteDsl",
    "Language",
    "Numba",
    "Ptx",
    "Source",
    "as_source",
    "triton_source",
]
