"""Find places in the text of a kernel file by Python's syntax tree, and change the text there."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Change: TypeAlias = tuple[ast.AST, str]

_WORDS = ("block", "lane", "piece", "chunk", "part", "span", "slot", "item", "value", "entry", "cell", "unit")
_POINTER_ARITHMETIC = ("offsets", "rows", "columns", "first", "a_ptrs", "b_ptrs", "c_ptrs")


# -- finding places --------------------------------------------------------------------------------


def kernel_function(text: str) -> ast.FunctionDef:
    """The kernel function: the last one under `@triton.jit`, since helpers are put before it."""
    return [
        n
        for n in ast.parse(text).body
        if isinstance(n, ast.FunctionDef) and any(ast.unparse(d) == "triton.jit" for d in n.decorator_list)
    ][-1]


def bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for child in ast.walk(node):
        for name in ("body", "orelse"):
            body = getattr(child, name, None)
            if isinstance(body, list) and body:
                yield body


def statements(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    for body in bodies(function):
        yield from (s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)))


def simple(function: ast.FunctionDef) -> list[ast.stmt]:
    """Statements whose expressions are evaluated once, just there."""
    return [s for s in statements(function) if isinstance(s, ast.Assign | ast.AugAssign | ast.Expr)]


def own_nodes(statement: ast.stmt) -> list[ast.AST]:
    """The expressions that a statement evaluates, without what stands for a type, a shape or an attribute."""
    value = getattr(statement, "value", None)
    return list(ast.walk(value)) if value is not None else []


def expressions(function: ast.FunctionDef, kinds: tuple[type, ...]) -> list[ast.AST]:
    return [n for s in simple(function) for n in own_nodes(s) if isinstance(n, kinds)]


def binops(node: ast.AST) -> list[ast.BinOp]:
    return [n for n in ast.walk(node) if isinstance(n, ast.BinOp)]


def addresses(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Where addresses are computed: first arguments of loads and stores, and variables that hold offsets."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tl.load", "tl.store"):
            yield node.args[0]
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in _POINTER_ARITHMETIC:
            yield node.value


def writes(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) and ast.unparse(n.func) == "tl.store" for n in ast.walk(node))


def is_index(function: ast.FunctionDef, node: ast.AST) -> bool:
    return any(isinstance(n, ast.Subscript) and node in ast.walk(n.slice) for n in ast.walk(function))


def independent(a: ast.stmt, b: ast.stmt) -> bool:
    if not all(isinstance(s, ast.Assign | ast.AugAssign) for s in (a, b)):
        return False
    sets, uses = zip(*((names(s, ast.Store), names(s, ast.Load)) for s in (a, b)), strict=True)
    return not (sets[0] & (sets[1] | uses[1]) or sets[1] & uses[0])


def names(statement: ast.stmt, context: type) -> set[str]:
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    return names | ({ast.unparse(statement.target)} if isinstance(statement, ast.AugAssign) else set())


# -- changing the text -----------------------------------------------------------------------------


def source(text: str, node: ast.AST) -> str:
    return ast.get_source_segment(text, node) or ""


def operand(text: str, node: ast.AST) -> str:
    line = one_line(source(text, node))
    return f"({line})" if isinstance(node, ast.BinOp | ast.Compare | ast.BoolOp) else line


def one_line(source: str) -> str:
    return " ".join(source.split())


def unparse(function: ast.FunctionDef) -> str:
    """Without the decorators, which stand before the position of a function."""
    function.decorator_list = []
    return ast.unparse(function)


def splice(text: str, changes: Sequence[Change]) -> str:
    """Put other text in the places of nodes."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans = [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset), new) for n, new in changes]  # type: ignore[attr-defined]
    for (line, column), (end_line, end_column), new in sorted(spans, reverse=True):
        text = text[: starts[line - 1] + column] + new + text[starts[end_line - 1] + end_column :]
    return text


def insert(text: str, statement: ast.stmt, line: str) -> str:
    """Put a line before a statement, as far to the right as it."""
    lines = text.splitlines()
    lines.insert(statement.lineno - 1, f"{' ' * statement.col_offset}{line}".rstrip())
    return "\n".join(lines) + "\n"


def rename(text: str, function: ast.FunctionDef, old: str, new: str) -> str:
    nodes = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == old]
    changes: list[Change] = [(n, new) for n in nodes]
    changes += [(argument, new) for argument in function.args.args if argument.arg == old]
    return splice(text, changes)


def new_name(text: str, rng: random.Random) -> str:
    free = [f"{word}{n}" for n in ("", "_2", "_3", "_4") for word in _WORDS if not re.search(rf"\b{word}{n}\b", text)]
    return rng.choice(free[:6])
