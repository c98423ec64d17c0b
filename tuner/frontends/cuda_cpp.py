"""CUDA C++: text or a file, compiled by NVRTC.

Nothing is read while compiling that was not read when the kernel was declared: the user's headers are handed
over as text, so what is identified is what is compiled, and no path enters the PTX. The headers of the CUDA
toolkit (`cuda_fp16.h`, `cub/…`) come from the wheels of NVIDIA.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.base import Emitted, Source, Specialization
from tuner.frontends.binding import Declared, Order, arrange
from tuner.frontends.cuda_signature import check_const, read_parameters
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.includes import CompilerFlags, digest, read_headers, sort_flags
from tuner.frontends.origins import INSTALLED
from tuner.frontends.text import normalised, read
from tuner.gpu.catalog import architecture_name
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Value

_WORD = re.compile(r"[A-Za-z_]\w*")
_NAME = "kernel.cu"
"""What NVRTC calls a text that is in no file."""
_ENTRY = re.compile(r"([A-Za-z_][\w:]*)\s*(<.*>)?")
_TOOLKIT = {"cudart": "nvidia-cuda-runtime", "cccl": "nvidia-cuda-cccl"}
"""What `cuda.pathfinder` calls the headers of the toolkit that kernels include, and the distribution of each."""


@dataclass(frozen=True, eq=False)
class CudaCpp(Source):
    """A `__global__` function of pointers and 32-bit integers, in any order.

    Tensors are taken by the parameters of their names; where its signature cannot be told from the text, the order
    is inputs, extra integers, outputs.

    Tuned parameters, attributes and `dims` are macros of their names where the text uses them, and template
    arguments where they stand between the angle brackets of `entry`. A dtype variable is a type (`__half`,
    whose header is included). Floats become literals of type `float`.

    Example:
        ``CudaCpp(Path(__file__).with_name("softmax.cu"), entry="softmax<T, THREADS>")``

    Attributes:
        code: the text, or a `Path` to it.
        entry: the function's name, with template arguments where it is a template.
        dims: dimensions that the code takes as constants.
        include: folders with the user's headers, besides that of the file.
        flags: more options for NVRTC, for example ``("--use_fast_math",)``. Folders and headers that they name are
            taken as those of `include` are.
    """

    code: str | Path
    entry: str
    dims: Sequence[str] = ()
    include: Sequence[Path] = ()
    flags: Sequence[str] = ()
    order: Order | None = None

    language = "CUDA C++"

    def __post_init__(self) -> None:
        if not _ENTRY.fullmatch(self.entry):
            raise ConfigError(f"entry={self.entry!r} names no function, such as 'scale' or 'scale<T, THREADS>'")
        if isinstance(self.code, Path) and not self.code.is_file():
            raise ConfigError(f"{self.code}: there is no such file")
        if self._name not in self._words:
            raise ConfigError(f"entry={self.entry!r} is not in the code")

    @property
    def parameters(self) -> tuple[str, ...] | None:
        return None if self._signature is None else tuple(self._signature)

    def bind(self, declared: Declared) -> CudaCpp:
        return self if self.parameters is None else replace(self, order=arrange(self.parameters, declared))

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        used = (n for n in declared if n in self._words or n in self._template_words)
        return (*used, *self.dims)

    def check_parameters(self, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        if self._signature is not None and self.order is not None:
            check_const(self._signature, self._name, dict(zip(outputs, self.order.outputs, strict=True)))

    def text(self) -> str:
        return self._identity

    def emit(self, specialization: Specialization) -> Emitted:
        types = {variable: DTYPES[name].cuda for variable, name in specialization.dtypes.items()}
        values = {
            name: DTYPES[str(value)].cuda if name in specialization.types else _spelt(value)
            for name, value in specialization.constants.items()
        }
        entry = _WORD.sub(lambda word: {**types, **values}.get(word[0], word[0]), self.entry)
        own = self.code.name if isinstance(self.code, Path) else _NAME
        # Defined after the toolkit's headers, whose templates have parameters called T and N too.
        macros = {name: value for name, value in values.items() if name not in self._template_words}
        opening = [
            *(f'#include "{header.name}"' for header in self._options.first),
            *(
                f"#include <cuda_{header}.h>"
                for header in sorted({DTYPES[name].header for name in specialization.dtypes.values()} - {""})
            ),
            *(f"using {variable} = {type_name};" for variable, type_name in types.items()),
            *(f"#define {name} {value}" for name, value in macros.items()),
            f'#line 1 "{own}"',
        ]
        architecture = architecture_name(specialization.capability)
        options = [
            f"--gpu-architecture={str(architecture).replace('sm', 'compute')}",
            "--std=c++17",
            "--no-source-include",
            *(f"-I{folder}" for folder in (*_toolkit_folders().values(), *self._options.toolkits)),
            *self._options.rest,
        ]
        headers = {name: text for name, text in self._texts.items() if name}
        try:
            text = _compile("\n".join((*opening, self._texts[""])), headers, entry, options)
        except TacticError as e:
            raise TacticError(e.kind, _blame_macros(str(e), {own: self._texts[""], **headers}, macros)) from e
        order = self.order.positions(self.parameters) if self.order and self.parameters else None
        return Emitted(text, order=order)

    def tools(self) -> Mapping[str, str]:
        nvrtc = _nvrtc()
        major, minor = _checked(nvrtc.nvrtcVersion())
        versions = {"nvrtc": _version("nvidia-cuda-nvrtc") or f"{major}.{minor}"}
        return {**versions, **{name: _headers_version(name, folder) for name, folder in _toolkit_folders().items()}}

    @cached_property
    def _options(self) -> CompilerFlags:
        return sort_flags(self.flags)

    @cached_property
    def _identity(self) -> str:
        codes = {name: normalised(text) for name, text in sorted(self._texts.items())}
        first = [header.name for header in self._options.first]
        return json.dumps([codes, self.entry, list(self.dims), first, self._options.identity])

    @property
    def _name(self) -> str:
        """The function's name, without namespace and template arguments."""
        return str(_WORD.findall(self.entry.split("<")[0])[-1])

    @cached_property
    def _signature(self) -> dict[str, str] | None:
        return read_parameters(normalised(self._texts[""]), self._name)

    @cached_property
    def _template_words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(self.entry.partition("<")[2]))

    @cached_property
    def _words(self) -> frozenset[str]:
        """Every identifier of the code and of the user's headers."""
        return frozenset(word for text in self._texts.values() for word in _WORD.findall(normalised(text)))

    @cached_property
    def _texts(self) -> dict[str, str]:
        """The text of each of the user's headers by the name it is included as, and under "" of the code itself."""
        own = self.code.parent if isinstance(self.code, Path) else None
        code = read(self.code) if isinstance(self.code, Path) else self.code
        return {"": code, **read_headers(code, own, [*self.include, *self._options.folders], self._options.first)}


def _spelt(value: Value) -> str:
    """A value as C++ spells it: floats in single precision."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value!r}f" if isinstance(value, float) else str(value)


# -- NVRTC ---------------------------------------------------------------------------------------


def _compile(code: str, headers: Mapping[str, str], entry: str, options: Sequence[str]) -> str:
    """PTX of one function.

    Raises:
        TacticError: with what the compiler printed, its first error first.
    """
    nvrtc = _nvrtc()
    names = [name.encode() for name in headers]
    texts = [text.encode() for text in headers.values()]
    program = _checked(nvrtc.nvrtcCreateProgram(code.encode(), _NAME.encode(), len(names), texts, names))
    try:
        _checked(nvrtc.nvrtcAddNameExpression(program, entry.encode()))
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            printed = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            raise TacticError(FailureClass.COMPILE, _explain(printed, status.name))
        return _read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _read(size: Any, get: Any, program: Any) -> str:
    buffer = bytearray(_checked(size(program)))
    _checked(get(program, buffer))
    return buffer.rstrip(b"\0").decode()


def _explain(printed: str, status: str) -> str:
    error = re.search(r"^(.*?: )?(?:catastrophic )?error.*?: (.*)$", printed, re.MULTILINE)
    return f"{error[1] or ''}{error[2]}\n{printed.strip()}" if error else f"NVRTC: {status}\n{printed.strip()}"


def _blame_macros(message: str, texts: Mapping[str, str], macros: Mapping[str, str]) -> str:
    """An error, and on its first line those macros of ours that stand on the line that it is about."""
    first, *more = message.splitlines()
    place = re.match(r"(.+)\((\d+)\): ", first)
    text = next((t for n, t in texts.items() if place and (place[1] == n or place[1].endswith(f"/{n}"))), "")
    line = "".join(text.splitlines()[int(place[2]) - 1 : int(place[2])]) if place else ""
    for name in dict.fromkeys(_WORD.findall(line)):
        if name in macros:
            first += (
                f"; {name!r} on that line is a macro here, {macros[name]}, since the declaration has an attribute, "
                "parameter or dimension of that name: rename one of the two"
            )
    return "\n".join((first, *more))


def _checked(answer: tuple[Any, ...]) -> Any:
    status, *values = answer
    if status != type(status).NVRTC_SUCCESS:
        raise TacticError(FailureClass.COMPILE, f"NVRTC: {status.name}")
    return values[0] if len(values) == 1 else values


@cache
def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except Exception as e:
        raise UnavailableError(
            f"CUDA C++ kernels need NVRTC ({type(e).__name__}: {e}); pip install 'qdp-tuner[cuda-cpp]'"
        ) from None
    return nvrtc


@cache
def _toolkit_folders() -> Mapping[str, Path]:
    """Where the toolkit's headers are, by the part of it that they belong to."""
    from cuda.pathfinder import find_nvidia_header_directory

    found = {name: find_nvidia_header_directory(name) for name in _TOOLKIT}
    return {name: Path(folder) for name, folder in found.items() if folder}


def _headers_version(name: str, folder: Path) -> str:
    """The version of a distribution's headers; the content of those that are in none."""
    version = _version(_TOOLKIT[name])
    return version if version and not INSTALLED.isdisjoint(folder.parts) else digest(folder)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
