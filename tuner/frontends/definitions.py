"""Where a function is written: its syntax tree, found again in the file it was loaded from, and what names it reads."""

from __future__ import annotations

import ast
import copy
import linecache
import symtable
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TypeAlias
from weakref import WeakKeyDictionary

from tuner.errors import ConfigError
from tuner.search.call_by_name import describe

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Import:
    """An import inside a function: ``from .module import name as binding`` (level 1), or a module alone.

    Attributes:
        chains: what is read of it: dotted names that begin with the binding.
    """

    module: str
    level: int
    name: str | None
    whole: bool
    chains: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Definition:
    """How a function is written, and what it takes from outside of itself.

    Attributes:
        text: the source, without comments, docstrings and layout.
        chains: every outside name that is read, with the attributes taken from it: ``a.b.c`` is (a, b, c).
        decorating: those that the decorators alone read.
        imports: what is imported when it is called.
        free: the names of its closure.
    """

    text: str
    chains: tuple[tuple[str, ...], ...]
    decorating: frozenset[tuple[str, ...]]
    imports: tuple[Import, ...]
    free: tuple[str, ...]


_KNOWN: WeakKeyDictionary[FunctionType, Definition] = WeakKeyDictionary()
"""Some compilers replace a function's code when they compile it, so what was read first stays."""


def definition_of(function: FunctionType) -> Definition:
    """The definition of a Python function, as its file was when it was loaded.

    Raises:
        ConfigError: when the source cannot be read, was edited since, or is ambiguous.
    """
    known = _KNOWN.get(function)
    if known is None:
        known = _KNOWN[function] = _define(function)
    return known


def _define(function: FunctionType) -> Definition:
    node = _find(function)
    chains = sorted(set(_chains(node)))
    read = _read_outside(node, chains)
    decorating = frozenset(read).difference(_read_outside(bare := _undecorated(node), _chains(bare)))
    imports = tuple(_imports(node, chains))
    return Definition(ast.unparse(node), read, decorating, imports, function.__code__.co_freevars)


def _undecorated(node: FunctionNode) -> FunctionNode:
    if isinstance(node, ast.Lambda):
        return node
    bare = copy.copy(node)
    bare.decorator_list = []
    return bare


# -- the names a function reads ------------------------------------------------------------------


def _read_outside(node: FunctionNode, chains: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Those of a definition's dotted names that it looks up outside of itself."""
    outside = set(_outside_names(symtable.symtable(ast.unparse(node), "<kernel>", "exec")))
    return tuple(chain for chain in chains if chain[0] in outside)


def _outside_names(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that some scope of a definition looks up outside of it."""
    # A class body may read a global of the name that it is about to assign.
    everything = table.get_type() in ("module", "class")
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (everything or symbol.is_global()):
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


def _imports(node: ast.AST, chains: Sequence[tuple[str, ...]]) -> Iterator[Import]:
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                from_ = statement if isinstance(statement, ast.ImportFrom) else None
                binding = alias.asname or (alias.name if from_ else alias.name.partition(".")[0])
                read = tuple(chain for chain in chains if chain[0] == binding)
                if from_:
                    yield Import(from_.module or "", from_.level, alias.name, True, read)
                else:  # `import a.b` gives a, `import a.b as c` gives b
                    yield Import(alias.name, 0, None, alias.asname is not None, read)


# -- the definition of a function ----------------------------------------------------------------


def _find(function: FunctionType) -> FunctionNode:
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

    definitions: tuple[FunctionNode, ...]
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
    raise ConfigError(
        f"{describe(function)}: the file has changed since it was loaded; start again, and if that does not help, "
        "delete the __pycache__ beside it"
    )


@lru_cache(maxsize=32)
def _read(text: str) -> _ParsedFile:
    try:
        tree = ast.parse(text)
        codes = frozenset(_codes(compile(text, "<kernel>", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):  # the latter for a null character
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


def _first_line(node: FunctionNode) -> int:
    """The line where Python says that a function begins: that of its first decorator."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min(n.lineno for n in (node, *decorators))


def _matches(node: FunctionNode, code: CodeType) -> bool:
    arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
    return name == code.co_name and tuple(arguments) == code.co_varnames[: len(arguments)]


def _spans(node: FunctionNode, code: CodeType) -> bool:
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
