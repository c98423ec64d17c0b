"""The source of a function with everything it calls, as text that only changes when the code does.

Comments, docstrings, layout, the position in a file and the file itself leave no trace. Functions of
the user are followed through globals, closures and modules, constants are written out by value, and
what belongs to a library appears by name only.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import linecache
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.errors import ConfigError
from tuner.frontends import EXTRAS
from tuner.search.call_by_name import describe

if TYPE_CHECKING:
    pass


_LIBRARIES = sys.stdlib_module_names | {"triton", "tuner", "numpy", "ml_dtypes", "torch", "cuda"} | EXTRAS.keys()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def source_hash(*functions: Callable[..., Any]) -> str:
    """The SHA-256 of the functions' `source_text`, as hexadecimal digits."""
    return hashlib.sha256(json.dumps([source_text(f) for f in functions]).encode()).hexdigest()


def source_text(function: Callable[..., Any]) -> str:
    """The normalised source of a function and of everything it calls.

    Args:
        function: a Python function or lambda, or a `@triton.jit` function.

    Returns:
        One section per function, the given one first, each followed by what the names in it stand for.

    Raises:
        ConfigError: when the source of a function cannot be read.
    """
    return _source_text(_plain_function(function))


@functools.cache
def _source_text(function: FunctionType) -> str:
    functions = [function]
    sections: list[str] = []
    for f in functions:  # grows while it is walked
        node = _definition(f)
        meanings = sorted({f"{name} = {_describe(value, functions)}" for name, value in _references(f, node)})
        sections.append("\n".join([ast.unparse(node), *(f"# {m}" for m in meanings)]))
    return "\n\n".join(sections) + "\n"


def _plain_function(function: Any) -> FunctionType:
    """The Python function inside decorators of libraries, which keep it as `fn` or `__wrapped__`."""
    while not isinstance(function, FunctionType) or _is_wrapper(function):
        function = getattr(function, "__wrapped__" if isinstance(function, FunctionType) else "fn", None)
        if function is None:
            raise ConfigError(f"{function!r} is not a Python function, so its source cannot be read")
    return function


def _is_wrapper(function: FunctionType) -> bool:
    return hasattr(function, "__wrapped__") and _is_library(function.__globals__.get("__name__"))


def _is_library(module: str | None) -> bool:
    return module is None or module.split(".")[0] in _LIBRARIES


# -- what a name stands for ----------------------------------------------------------------------


def _describe(value: Any, functions: list[FunctionType], outer: tuple[int, ...] = ()) -> str:
    """Text for a value. Functions of the user are added to `functions` and described by their place there."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in outer:
        return "itself"
    inner = functools.partial(_describe, functions=functions, outer=(*outer, id(value)))
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(inner, value))})"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({', '.join(sorted(map(inner, value)))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{inner(k)}: {inner(v)}' for k, v in value.items())})"
    if isinstance(value, ModuleType):
        return f"module {value.__name__}" if _is_library(value.__name__) else "module"
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(name, str) and _is_library(module):
        return _library_name(module, name)
    if isinstance(value, FunctionType) or isinstance(getattr(value, "fn", None), FunctionType):
        function = _plain_function(value)
        if function not in functions:
            functions.append(function)
        return f"function {functions.index(function)}"
    if isinstance(value, type):
        members = {k: v for k, v in vars(value).items() if not k.startswith("__")}
        return f"class {name} {inner(members)}"
    kind = type(value)
    if kind.__name__ == "constexpr" and _is_library(kind.__module__):
        return f"constexpr({inner(value.value)})"
    if _is_library(kind.__module__):
        text = repr(value)
        return _library_name(kind.__module__, kind.__qualname__) + ("" if " at 0x" in text else f" {text}")
    return f"instance of {inner(kind)} with {inner(dict(vars(value)))}"


def _library_name(module: str | None, name: str) -> str:
    """What belongs to a library, by name. Which module of ours it is in may change without a change of the kernel."""
    return f"tuner.{name}" if module is not None and module.split(".")[0] == "tuner" else f"{module}.{name}"


def _references(function: FunctionType, node: Definition) -> Iterator[tuple[str, Any]]:
    """The dotted names that a function takes from outside itself, with their values."""
    text = ast.unparse(node)
    outside = set(_outside_names(symtable.symtable(text, "<kernel>", "exec")))
    scope = {**function.__globals__, **_closure(function)}
    for chain in sorted(set(_chains(node))):
        if chain[0] in outside and chain[0] in scope:
            value, length = scope[chain[0]], 1
            # The members of a library are known by the name of the library.
            while isinstance(value, ModuleType) and not _is_library(value.__name__) and length < len(chain):
                value, length = getattr(value, chain[length], None), length + 1
            yield ".".join(chain[:length]), value


def _closure(function: FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # the name is assigned after the function is defined
        return False
    return True


def _outside_names(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that some scope of a definition looks up outside of it."""
    module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (module or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _outside_names(child)


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name that is read, with the attributes taken from it: ``a.b.c`` gives (a, b, c)."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            yield (base.id, *reversed(attributes))
            return
    for child in ast.iter_child_nodes(node):
        yield from _chains(child)


# -- the definition of a function ----------------------------------------------------------------


def _definition(function: FunctionType) -> Definition:
    """The syntax tree of a function without docstrings."""
    code = function.__code__
    file = _file_of(function)
    found = [n for n in file.definitions if _first_line(n) == code.co_firstlineno and _matches(n, code)]
    if len(found) > 1:
        found = [n for n in found if _spans(n, code)] or found
    if len({ast.unparse(n) for n in found}) != 1:
        raise ConfigError(f"cannot tell {describe(function)} from the others on its line; put it on a line of its own")
    return found[0]


@dataclass(frozen=True)
class _ParsedFile:
    """What the text of a file defines: syntax trees without docstrings, and code as Python compiles it."""

    definitions: tuple[Definition, ...]
    codes: frozenset[CodeType]


def _file_of(function: FunctionType) -> _ParsedFile:
    """The file a function was loaded from; a text that was edited since then is refused."""
    filename = function.__code__.co_filename
    # What linecache remembers is usually the text at the time of loading; else look at the file again.
    for refresh in (False, True):
        if refresh:
            linecache.checkcache(filename)
        file = _read("".join(linecache.getlines(filename, function.__globals__)))
        if function.__code__ in file.codes:
            return file
    if not linecache.getlines(filename):
        raise ConfigError(f"the source of {describe(function)} cannot be read; put it into a file")
    raise ConfigError(f"{describe(function)}: the file has changed since it was loaded; start again")


@functools.lru_cache(maxsize=32)
def _read(text: str) -> _ParsedFile:
    try:
        tree = ast.parse(text)
        codes = frozenset(_codes(compile(text, "<kernel>", "exec", dont_inherit=True)))
    except SyntaxError:
        return _ParsedFile((), frozenset())
    for node in ast.walk(tree):
        _drop_docstring(node)
    definitions = (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))
    return _ParsedFile(tuple(definitions), codes)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _drop_docstring(node: ast.AST) -> None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _first_line(node: Definition) -> int:
    """The line where Python says that a function begins: that of its first decorator."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min(n.lineno for n in (node, *decorators))


def _matches(node: Definition, code: CodeType) -> bool:
    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    return name == code.co_name and tuple(arguments) == code.co_varnames[: len(arguments)]


def _spans(node: Definition, code: CodeType) -> bool:
    """Whether the code's instructions come from this lambda and not from another one on its line."""
    if not isinstance(node, ast.Lambda):
        return False
    body = node.body
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None or end_column == 0:
            continue
        if not (begin <= (line, column) and (end_line, end_column) <= end):
            return False
    return True
