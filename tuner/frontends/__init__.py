"""Front ends: the languages a kernel's source may be written in. Each is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tuner.frontends.base import Source

if TYPE_CHECKING:
    from tuner.frontends.cuda_cpp import CudaCpp
    from tuner.frontends.cute import CuteDsl
    from tuner.frontends.numba import Numba
    from tuner.frontends.ptx import Ptx

EXTRAS = {"numba": "numba", "numba_cuda": "numba", "cutlass": "cute"}
"""Modules that kernel files import, and the extra that installs each."""

_MODULES = {"CudaCpp": "cuda_cpp", "CuteDsl": "cute", "Numba": "numba", "Ptx": "ptx"}


def as_source(source: Any) -> Source:
    """The front end's view of what a kernel declares: a `Source` itself, or Triton's of a function.

    Raises:
        ConfigError: for anything else.
    """
    if isinstance(source, Source):
        return source
    from tuner.frontends.triton import TritonSource

    return TritonSource(source)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"tuner.frontends.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'tuner.frontends' has no attribute {name!r}")


__all__ = ["EXTRAS", "CudaCpp", "CuteDsl", "Numba", "Ptx", "Source", "as_source"]
