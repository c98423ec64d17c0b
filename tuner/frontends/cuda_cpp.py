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
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, UnavailableError
from tuner.frontends.base import Emitted, Source, Specialization
from tuner.frontends.binding import Declared, Order, arrange
from tuner.frontends.cuda_entry import DEVICE_ONLY, Parameters, entry_text, parameters_of
from tuner.frontends.cuda_headers import standard_headers
from tuner.frontends.cuda_host import device_macros, without_host_code, without_instantiations
from tuner.frontends.cuda_signature import check_const
from tuner.frontends.dtypes import DTYPES
from tuner.frontends.includes import CompilerFlags, digest, included, read_headers, sort_flags
from tuner.frontends.origins import INSTALLED
from tuner.frontends.text import normalised, read
from tuner.gpu.catalog import architecture_name
from tuner.outcome import FailureClass, TacticError
from tuner.search.tactic import Value

_WORD = re.compile(r"[A-Za-z_]\w*")
_NAME = "kernel.cu"
"""What NVRTC calls a text that is in no file."""
_MARK = "of the declaration"
"""What NVRTC says of a constant of ours where code reads it."""
_NOTES = re.compile(rf'^.*: variable "\w+" was declared deprecated \("{_MARK}"\)\n.*\n *\^\n+', re.MULTILINE)
_ENTRY = re.compile(r"([A-Za-z_][\w:]*)\s*(<.*>)?")
_TOOLKIT = {"cudart": "nvidia-cuda-runtime", "cccl": "nvidia-cuda-cccl"}
"""What `cuda.pathfinder` calls the headers of the toolkit that kernels include, and the distribution of each."""


@dataclass(frozen=True, eq=False)
class CudaCpp(Source):
    """A `__global__` function, with its parameters in any order.

    Tensors are taken by the parameters of their names; where its signature cannot be told from the text, the order
    is inputs, extra integers, outputs. A parameter named as an attribute, a tuned parameter or one of `dims` is
    compiled in, and a plain structure by value is taken apart: its members are parameters.

    Tuned parameters, attributes and `dims` are otherwise constants of their names where the text uses them, and
    template arguments where they stand between the angle brackets of `entry`. The text may have names of its own that
    are spelt alike. Those that it asks for in a preprocessor's condition are macros. A dtype variable is a type
    (`__half`, whose header is included). Floats become literals of type `float`.

    Headers of the C++ standard library come from libcu++. Host code may stand in the file: where NVRTC does not take
    the text as it is, functions of the host are left out, and with them headers that are not there. Code between
    ``#ifndef __CUDACC_RTC__`` and ``#endif`` is never seen.

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
    fixed: Mapping[str, Any] = field(default_factory=dict)

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
        return None if self._signature is None else tuple(self._signature.flat)

    def bind(self, declared: Declared) -> CudaCpp:
        if self.parameters is None:
            return self
        order = arrange(self.parameters, declared, declared.attributes, {*declared.params, *self.dims})
        return replace(self, order=order, fixed=dict.fromkeys(declared.absent))

    def constants(self, declared: Sequence[str]) -> tuple[str, ...]:
        used = (n for n in declared if n in self._words or n in self._template_words)
        return (*used, *self.dims)

    def check_parameters(self, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]) -> None:
        if self._signature is not None and self.order is not None:
            check_const(self._signature.flat, self._name, dict(zip(outputs, self.order.outputs, strict=True)))

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
        signature, order = self._signature, self.order
        passed = order.names if order is not None else ()
        by_value = {n: v for n, v in values.items() if signature and order and n in signature.flat and n not in passed}
        wrapped = bool(by_value or (signature is not None and signature.members))
        constants = {n: v for n, v in values.items() if n not in {*types, *by_value}}
        macros = {n: v for n, v in constants.items() if n in self._conditions or not _is_literal(v)}
        objects = {n: v for n, v in constants.items() if n not in macros and n in self._words}
        # Defined after the toolkit's headers, whose templates have parameters called T and N too.
        opening = [
            *(f'#include "{header.name}"' for header in self._options.first),
            *(
                f"#include <cuda_{header}.h>"
                for header in sorted({DTYPES[name].header for name in specialization.dtypes.values()} - {""})
            ),
            *(f"using {variable} = {type_name};" for variable, type_name in types.items()),
            *(f"#define {name} {value}" for name, value in macros.items() if name not in self._template_words),
            *(f'[[deprecated("{_MARK}")]] static constexpr {_kind(v)} {n} = {v};' for n, v in objects.items()),
            *(DEVICE_ONLY if wrapped else ()),
            f'#line 1 "{own}"',
        ]
        ending = ""
        if wrapped and signature is not None and order is not None:
            code = normalised(self._texts[""])
            ending, entry = entry_text(code, self._name, entry, signature, order.names, by_value)
        architecture = architecture_name(specialization.capability)
        options = [
            f"--gpu-architecture={str(architecture).replace('sm', 'compute')}",
            "--std=c++17",
            "--no-source-include",
            *(f"-I{folder}" for folder in (*_toolkit_folders().values(), *self._options.toolkits, *_inner_folders())),
            *self._options.rest,
        ]
        standard = standard_headers(included(self._texts.values()), _toolkit_folders().get("cccl"))
        try:
            text, printed = self._compiled(opening, ending, standard, entry, options)
        except TacticError as e:
            texts = {own: self._texts[""], **self._texts}
            raise TacticError(e.kind, _blame_macros(str(e), texts, macros)) from e
        self._check_used(objects, printed)
        for name in objects:  # NVRTC keeps them as variables, though what reads them has their values
            text = re.sub(rf"^\.global [^;\n]*\b{name} = [^;\n]*;\n", "", text, flags=re.MULTILINE)
        positions = order.positions(self.parameters) if order and self.parameters and not wrapped else None
        return Emitted(text, order=positions)

    def _compiled(
        self, opening: Sequence[str], ending: str, standard: Mapping[str, str], entry: str, options: Sequence[str]
    ) -> tuple[str, str]:
        """PTX, and what the compiler printed: of the text as it is or, where that fails, without its host code."""
        headers = {**standard, **{name: text for name, text in self._texts.items() if name}}
        try:
            return _compile("\n".join((*opening, self._texts[""], ending)), headers, entry, options)
        except TacticError:
            macros = device_macros(self._texts.values())
            texts = {name: without_host_code(text, macros) for name, text in self._texts.items()}
            missing = [n for n in included(self._texts.values()) if n not in headers and not self._in_toolkit(n)]
            if texts == self._texts and not missing:
                raise
            headers |= {name: text for name, text in texts.items() if name} | dict.fromkeys(missing, "")
            try:
                return _compile("\n".join((*opening, texts[""], ending)), headers, entry, options)
            except TacticError as e:
                if not missing:
                    raise
                first, *more = str(e).splitlines()
                left = f"there is no {' and no '.join(missing)}, which was left out with the host code"
                raise TacticError(e.kind, "\n".join((f"{first}; {left}", *more))) from None

    def _in_toolkit(self, header: str) -> bool:
        folders = (*_toolkit_folders().values(), *self._options.toolkits, *_inner_folders())
        return any((folder / header).is_file() for folder in folders)

    def _check_used(self, objects: Mapping[str, str], printed: str) -> None:
        """Refuse a constant that the text hides behind names of its own: nothing would follow its value."""
        if any(flag.startswith(("-w", "--disable-warnings")) for flag in self._options.rest):
            return
        used = set(re.findall(rf'"(\w+)" was declared deprecated \("{_MARK}"\)', printed))
        for name in objects.keys() - used - self._template_words:
            if any(re.search(rf"[\w>&*]\s+{name}\s*[=;,){{[]", normalised(text)) for text in self._texts.values()):
                raise TacticError(
                    FailureClass.COMPILE,
                    f"the declaration has an attribute, parameter or dimension {name!r}, and wherever the code says "
                    f"{name!r} it means a variable of its own, so nothing follows the value; rename one of the two",
                )

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
        fixed = [sorted(self.fixed)] if self.fixed else []
        return json.dumps([codes, self.entry, list(self.dims), first, self._options.identity, *fixed])

    @property
    def _name(self) -> str:
        """The function's name, without namespace and template arguments."""
        return str(_WORD.findall(self.entry.split("<")[0])[-1])

    @cached_property
    def _signature(self) -> Parameters | None:
        return parameters_of("\n".join(map(normalised, self._texts.values())), self._name)

    @cached_property
    def _conditions(self) -> frozenset[str]:
        """Every identifier that a condition of the preprocessor, or text for it to join, has."""
        lines = "\n".join(map(normalised, self._texts.values())).replace("\\\n", " ")
        found = re.findall(r"^#\s*(?:if|ifdef|ifndef|elif|elifdef|elifndef)\b(.*)", lines, re.MULTILINE)
        return frozenset(word for condition in found for word in _WORD.findall(condition))

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
        code = without_instantiations(read(self.code) if isinstance(self.code, Path) else self.code)
        return {"": code, **read_headers(code, own, [*self.include, *self._options.folders], self._options.first)}


def _is_literal(spelt: str) -> bool:
    return spelt in ("true", "false") or not _WORD.fullmatch(spelt.split("<")[0].strip())


def _kind(spelt: str) -> str:
    """The type of a constant."""
    if spelt in ("true", "false"):
        return "bool"
    return "float" if spelt.endswith("f") else "int" if -(2**31) <= int(spelt) < 2**31 else "long long"


def _spelt(value: Value) -> str:
    """A value as C++ spells it: floats in single precision; None is a pointer that is absent."""
    if value is None:
        return "nullptr"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value!r}f" if isinstance(value, float) else str(value)


# -- NVRTC ---------------------------------------------------------------------------------------


def _compile(code: str, headers: Mapping[str, str], entry: str, options: Sequence[str]) -> tuple[str, str]:
    """PTX of one function, and what the compiler printed.

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
        printed = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise TacticError(FailureClass.COMPILE, _explain(_NOTES.sub("", printed), status.name))
        return _read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program), printed
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


def _inner_folders() -> Sequence[Path]:
    """Folders whose headers include one another as neighbours: NVRTC looks beside no file of a folder."""
    groups = [folder / "cooperative_groups" for folder in _toolkit_folders().values()]
    return [folder for group in groups for folder in (group, group / "details") if folder.is_dir()]


def _headers_version(name: str, folder: Path) -> str:
    """The version of a distribution's headers; the content of those that are in none."""
    version = _version(_TOOLKIT[name])
    return version if version and not INSTALLED.isdisjoint(folder.parts) else digest(folder)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
