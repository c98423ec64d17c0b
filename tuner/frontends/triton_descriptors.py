"""How many tensor descriptors a Triton function makes, as its text tells."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

DESCRIPTOR_BYTES = 128
"""What each takes of scratch memory, aligned to as much."""

_MAKERS = ("make_tensor_descriptor", "_experimental_make_tensor_descriptor")
_DEEPEST = 16
"""Calls of functions within functions; deeper ones call themselves."""


def count_descriptors(jit: Any, depth: int = 0) -> int:
    """Return how many descriptors a function makes, in itself and in the functions that it calls.

    A place in the text counts once, however often a loop comes there: Triton gives it one place in memory.
    """
    if depth > _DEEPEST:
        return 0
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(jit.fn)))
    except (OSError, SyntaxError, TypeError):  # whoever identifies the source says so
        return 0
    scope = {**getattr(jit.fn, "__globals__", {}), **inspect.getclosurevars(jit.fn).nonlocals}
    return sum(_made(call.func, scope, depth) for call in _calls(tree))


def _made(function: ast.expr, scope: dict[str, Any], depth: int) -> int:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in _MAKERS:
        return 1
    called = _value(function, scope)
    return count_descriptors(called, depth + 1) if inspect.isfunction(getattr(called, "fn", None)) else 0


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """What a name, or an attribute of one, stands for."""
    if isinstance(node, ast.Name):
        return scope.get(node.id)
    return getattr(_value(node.value, scope), node.attr, None) if isinstance(node, ast.Attribute) else None
