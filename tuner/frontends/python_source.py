"""The source of a function with everything it refers to, as text that only changes when the code does.

Comments, docstrings, layout, the position in a file and the file itself leave no trace. What a function refers to is
followed, through globals, closures, defaults, modules, classes and objects, down to plain values, which are written
out in full; what belongs to a library appears by name, with the version of its distribution. A value that is none of
these is refused, so that nothing can change unnoticed.
"""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, cast
from weakref import ref

from tuner.errors import ConfigError
from tuner.frontends.definitions import Definition, Import, definition_of
from tuner.frontends.objects import around_functions, contents_of, literal, members_of
from tuner.frontends.origins import COMPILERS, found_in_library, in_library, known_by_name, library_of
from tuner.search.call_by_name import describe

_PLAIN = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, range, type(Ellipsis), type(NotImplemented)}
)
_SEQUENCES = frozenset({tuple, list})
_SETS = frozenset({set, frozenset})
_MAPPINGS = frozenset({dict, MappingProxyType})

_WORLDLY = {
    "builtins": ("eval", "exec", "globals", "input", "open", "__import__"),
    "importlib": ("import_module",),
    "inspect": ("currentframe", "stack"),
    "io": ("FileIO", "open"),
    "os": (
        "environ",
        "environb",
        "_Environ",
        "fdopen",
        "getenv",
        "getenvb",
        "listdir",
        "open",
        "popen",
        "scandir",
        "walk",
    ),
    "subprocess": ("Popen", "call", "check_call", "check_output", "getoutput", "run"),
    "sys": ("_getframe", "argv", "modules"),
}
"""Modules of the standard library, and what of them answers with more than is written in code."""

_READS_MORE = frozenset(
    {
        *(f"{module}.{name}" for module, names in _WORLDLY.items() for name in names),
        *(f"numpy.{name}" for name in ("load", "loadtxt", "genfromtxt", "fromfile", "memmap")),
        *("_io.FileIO", "_io.open", "pathlib.Path", "torch.load"),
    }
)
"""What answers a function with more than is written in code."""

_HEAP_TYPE = 1 << 9
"""In `type.__flags__`: of a class that was not compiled into a library."""

_OF_THE_FILE = frozenset({"__file__", "__path__", "__spec__", "__loader__", "__cached__", "__builtins__"})


def source_hash(*values: Any) -> str:
    """The SHA-256 of the values' `source_text`, as hexadecimal digits."""
    return hashlib.sha256(json.dumps([source_text(v) for v in values]).encode()).hexdigest()


def source_text(value: Any) -> str:
    """The normalised source of a function with everything it refers to.

    What it refers to is as it was when this function was first asked about: what a reference remembers from one
    call to the next is no change of the reference.

    Args:
        value: a Python function, what a decorator made of one, any other callable, or a plain value.

    Returns:
        One section per function, class and object, the given one first, each followed by what the names in it
        stand for.

    Raises:
        ConfigError: when a source cannot be read, or a value that is referred to does not say what it holds; it
            names the value, and the function that reads it.
    """
    known = _TEXTS.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    try:
        text = _Walk(getattr(value, "__name__", type(value).__name__)).text(value) + "\n"
    except RecursionError:
        raise ConfigError(f"{describe(value)} reads what is nested too deeply to be hashed; make it flat") from None
    number = id(value)
    with suppress(TypeError):  # plain values cannot be referred to weakly, and need not be remembered
        _TEXTS[number] = ref(value, lambda _: _TEXTS.pop(number, None) and None), text
    return text


_TEXTS: dict[int, tuple[ref[Any], str]] = {}
"""By identity: some of what is described compares by value, or takes long to hash."""


class _Walk:
    """One walk over all that a value refers to. What can refer to itself gets a number, and a section of its own."""

    def __init__(self, where: str) -> None:
        self._numbers: dict[int, int] = {}
        self._met: list[tuple[str, Any, str]] = []  # also keeps the values alive, so that no id is used twice
        self._open: list[int] = []
        self._compiled: set[int] = set()  # functions that Triton compiles
        self._where = where

    def text(self, value: Any) -> str:
        """Text for a value and for all that it refers to; of a function, the sections alone."""
        opening = self.describe(value)
        return "\n\n".join([*([] if opening == "function 0" else [opening]), *self._sections()])

    def _sections(self) -> Iterator[str]:
        """The sections of all numbered values, those that are met on the way included."""
        make: Mapping[str, Callable[[Any], tuple[str, list[str]]]]
        make = {"function": self._function, "class": self._class, "module": self._module, "object": self._object}
        for kind, value, where in self._met:  # grows while it is walked
            self._where = where
            title, lines = make[kind](value)
            yield "\n".join([title, *(f"# {line}" for line in lines)])

    def describe(self, value: Any) -> str:
        """Text for a value, which is the same for equal values, in any process."""
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if kind in _SEQUENCES or kind in _SETS or kind in _MAPPINGS:
            return self._container(value)
        if isinstance(value, ModuleType):
            library = library_of(value.__name__)
            return self._numbered("module", value) if library is None else f"module {value.__name__}{library}"
        if (name := known_by_name(value)) is not None:
            return self._checked(name)
        if isinstance(value, FunctionType):
            return self._called(value)
        if isinstance(value, type):
            static = not value.__flags__ & _HEAP_TYPE and in_library(value.__module__, value.__qualname__)
            return static or self._numbered("class", value)
        if isinstance(value, BuiltinFunctionType | MethodWrapperType):
            return self._built_in(value)
        if isinstance(value, PurePath):
            return self._path(value)
        if (parts := around_functions(value)) or (parts := literal(value)):
            return self._parts(*parts)
        return self._numbered("object", value)

    # -- values that are written where they are met ----------------------------------------------

    def _container(self, value: Any) -> str:
        if id(value) in self._open:
            return f"the container {len(self._open) - self._open.index(id(value))} around this"
        self._open.append(id(value))
        where, kind = self._where, type(value)
        try:
            if kind in _MAPPINGS:
                inner = [f"{self.describe(k)}: {self._part(v, f'{where}[{k!r:.40}]')}" for k, v in value.items()]
                return f"dict({', '.join(inner)})"
            if kind in _SETS:  # which has no order to number values in
                return f"{kind.__name__}({', '.join(sorted(_Walk(where).text(v) for v in value))})"
            inner = [self._part(v, f"{where}[{i}]") for i, v in enumerate(value)]
            return f"{kind.__name__}({', '.join(inner)})"
        finally:
            self._open.pop()
            self._where = where

    def _part(self, value: Any, where: str) -> str:
        before, self._where = self._where, where
        text = self.describe(value)
        self._where = before
        return text

    def _parts(self, title: str, parts: Any) -> str:
        """An object by its parts; a single function in it stands for itself."""
        if isinstance(parts.get("fn"), FunctionType):
            self._compiled.add(id(parts["fn"]))
        if list(parts) == ["fn"] and not title:
            inner = parts["fn"]
            return in_library(inner.__module__, inner.__qualname__) or self.describe(inner)
        inside = ", ".join(
            f"{name}={self.describe(part)}" if name else self.describe(part) for name, part in parts.items()
        )
        return f"{title}({inside})" if parts else title

    def _called(self, function: FunctionType) -> str:
        """A function: the user's by its section, a library's by its name and what it closes over."""
        module = function.__globals__.get("__name__")
        name = in_library(module, function.__code__.co_qualname)
        if name is None or not isinstance(module, str) or function.__name__ == "<lambda>":
            return self._numbered("function", function)
        registry = vars(function).get("registry")
        if isinstance(registry, MappingProxyType):
            return f"singledispatch({self.describe(dict(registry))})"
        inner = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None and not any(v is wrapped for v in inner):
            inner.append(wrapped)
        if module.partition(".")[0] in COMPILERS:  # whose decorators are known by the name they are called by
            name = module.partition(".")[0]
        if not inner or id(function) in self._open:
            return self._checked(name)
        self._open.append(id(function))
        text = f"{self._checked(name)}({', '.join(map(self.describe, inner))})"
        self._open.pop()
        return text

    def _built_in(self, value: Any) -> str:
        owner = value.__self__
        if owner is not None and not isinstance(owner, ModuleType):
            return f"{value.__name__} of {self.describe(owner)}"
        name = in_library(value.__module__ or getattr(owner, "__name__", None), value.__name__)
        if name is None:
            raise self._refusal(value, "whose code cannot be read")
        return self._checked(name)

    def _path(self, path: PurePath) -> str:
        file = Path(path)
        if file.is_dir():
            raise self._refusal(path, "of a folder, whose files are not hashed; read what is needed into constants")
        if not file.exists():
            return f"path {str(path)!r}"
        try:
            return f"file {file.name!r} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        except OSError as e:
            raise self._refusal(path, f"of a file that cannot be read ({e.strerror})") from e

    def _numbered(self, kind: str, value: Any) -> str:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._met)
            self._met.append((kind, value, self._where))
        return f"{kind} {number}"

    def _checked(self, name: str) -> str:
        """The name of a library's thing, unless it answers with more than code says."""
        if name.partition(" ")[0] in _READS_MORE:
            raise self._reads_more()
        return name

    def _reads_more(self) -> ConfigError:
        return ConfigError(
            f"{self._where}, which gives it more than is written in code, so a change would not be noticed; read what "
            "it needs into a constant beside it"
        )

    def _refusal(self, value: Any, why: str) -> ConfigError:
        return ConfigError(f"{self._where}, a {type(value).__module__}.{type(value).__qualname__} {why}")

    # -- sections --------------------------------------------------------------------------------

    def _module(self, module: ModuleType) -> tuple[str, list[str]]:
        names = {n: v for n, v in vars(module).items() if not (n.startswith("__") and n.endswith("__"))}
        return "module", self._lines(names, ".")

    def _class(self, cls: type) -> tuple[str, list[str]]:
        return f"class {cls.__name__}", self._lines(members_of(cls))

    def _object(self, value: Any) -> tuple[str, list[str]]:
        name = in_library(type(value).__module__, type(value).__qualname__)
        if name is not None:
            self._checked(name)
        contents = contents_of(value)
        if contents is None:
            found = found_in_library(value)
            if found is None:
                raise self._refusal(
                    value,
                    "that does not say what it holds, so a change would not be noticed; read numbers, text, tuples, "
                    "numpy arrays or objects of them instead",
                )
            return self._checked(found), []
        return f"object of {self.describe(type(value))}", self._lines(contents)

    def _lines(self, parts: Any, between: str = "") -> list[str]:
        where = self._where
        return [f"{name} = {self._part(part, f'{where}{between}{name}')}" for name, part in parts.items()]

    def _function(self, function: FunctionType) -> tuple[str, list[str]]:
        definition = definition_of(function)
        reader = describe(function)
        lines: set[str] = set()
        if id(function) in self._compiled:
            definition = _as_compiled(function, definition)
        for name, value in _references(function, definition):
            self._where = f"{reader} reads {name}"
            if value is _OUTSIDE:
                raise self._reads_more()
            lines.add(f"{name} = {value if isinstance(value, _Known) else self.describe(value)}")
        self._where = f"{reader} has defaults"
        defaults = {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
        lines.update(f"{name}: {self.describe(values)}" for name, values in defaults.items() if values)
        public = {n: v for n, v in vars(function).items() if not n.startswith("_")}
        self._where = f"{reader} has attributes"
        if public:
            lines.add(f"attributes: {self.describe(public)}")
        return definition.text, sorted(lines)


class _Known(str):
    """Text that says what a name stands for, where there is no value."""

    __slots__ = ()


_OUTSIDE = object()
"""Stands for what answers with more than is written in code."""


def _references(function: FunctionType, definition: Definition) -> Iterator[tuple[str, Any]]:
    """The dotted names that a function takes from outside itself, with their values, or what is `_Known` of them."""
    closure = dict(zip(definition.free, function.__closure__ or (), strict=False))
    for chain in definition.chains:
        name = chain[0]
        if name in closure:
            if _is_filled(closure[name]):  # else it is assigned after the function is defined
                yield from _followed(chain, closure[name].cell_contents)
        elif name in _OF_THE_FILE:
            yield name, _OUTSIDE
        elif name == "__name__":  # of the module, which says nothing about the code
            continue
        elif name in function.__globals__:
            yield from _followed(chain, function.__globals__[name])
        elif not hasattr(builtins, name):
            yield name, _Known("undefined")
        elif f"builtins.{name}" in _READS_MORE:
            yield name, _OUTSIDE
    for statement in definition.imports:
        yield from _imported(function, statement)


def _as_compiled(function: FunctionType, definition: Definition) -> Definition:
    """A definition with what Triton compiles of it: body and signature.

    What the decorators make is declared beside it: configs are the space, and heuristics are hashed on their own.
    """
    aside = {chain for chain in definition.decorating if not _of_triton(function.__globals__.get(chain[0]))}
    return replace(definition, chains=tuple(chain for chain in definition.chains if chain not in aside))


def _of_triton(value: Any) -> bool:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return str(module).partition(".")[0] == "triton"


def _followed(chain: tuple[str, ...], value: Any) -> Iterator[tuple[str, Any]]:
    """The value of a dotted name. The members of a library are known by the name of the library."""
    length = 1
    while isinstance(value, ModuleType) and length < len(chain):
        if library_of(value.__name__) is not None:
            if f"{value.__name__}.{chain[length]}" in _READS_MORE:
                yield ".".join(chain), _OUTSIDE
            break
        if not hasattr(value, chain[length]):
            yield ".".join(chain[: length + 1]), _Known("undefined")
            return
        value, length = getattr(value, chain[length]), length + 1
    name = ".".join(chain[:length])
    # Whoever has a module at hand can take everything from it.
    bare = isinstance(value, ModuleType) and length == len(chain)
    yield name, _OUTSIDE if bare and value.__name__ in _WORLDLY else value
    if isinstance(value, FunctionType) and library_of(str(value.__globals__.get("__name__"))) is None:
        attributes = vars(value)
        if length < len(chain) and chain[length] in attributes:
            yield f"{name}.{chain[length]}", attributes[chain[length]]


def _imported(function: FunctionType, statement: Import) -> Iterator[tuple[str, Any]]:
    """What an import inside a function gives it, found as Python finds it when the function is called."""
    load = cast("Any", function).__builtins__["__import__"]  # an attribute that not every typeshed knows
    names = (statement.name or "__name__",) if statement.whole else ()
    said = "." * statement.level + statement.module
    try:
        value = load(statement.module, function.__globals__, None, names, statement.level)
    except ImportError:
        yield f"import {said}", _Known("missing")
        return
    for chain in statement.chains:
        if statement.name is None:
            yield from _followed(chain, value)
        else:  # as an attribute of the module that it is imported from
            yield from _followed((said, statement.name, *chain[1:]), value)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
