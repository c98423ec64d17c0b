"""A call of a plugin as text: ``example::increment(fp32[1:64:1024, 1024], block_size=256)``.

What stands in the brackets is Python: tensors are subscripted data types, attributes keywords with literals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.qdp.dtypes import member
from tuner.qdp.rehearsal.builder import PlayedTensor

_LARGEST = 2**63 - 1
_CALL = re.compile(r"\s*(\w+::\w+)\s*(\(.*\))\s*", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A plugin with the tensors and attributes of one layer."""

    text: str
    plugin: str
    tensors: tuple[PlayedTensor, ...]
    attributes: Mapping[str, Any]


def parse(text: str) -> Call:
    """Read a call.

    A tensor is a data type with extents, each a number or min:opt:max, and none as ``fp32[()]``; an attribute
    is a Python literal.

    Raises:
        ConfigError: when it does not read so.
    """
    try:
        match = _CALL.fullmatch(text)
        node = ast.parse(f"_{match[2]}", mode="eval").body if match is not None else None
        if match is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ConfigError("does not read namespace::name(fp32[1:64:1024, 1024], attribute=value)")
        tensors = tuple(_tensor(argument) for argument in node.args)
        attributes: dict[str, Any] = {}
        for keyword in node.keywords:
            name, value = _attribute(keyword)
            if name in attributes:
                raise ConfigError(f"{name!r} is given twice")
            attributes[name] = value
        return Call(text, match[1], tensors, attributes)
    except SyntaxError as e:
        raise ConfigError(f"call {text!r}: {e.msg}") from None
    except ConfigError as e:
        raise ConfigError(f"call {text!r}: {e}") from None


def example(plugin: str, tensors: int, attributes: Mapping[str, Any]) -> str:
    """A call to copy and complete."""
    values = [f"{name}={getattr(kind, '__name__', 'array')}" for name, kind in attributes.items()]
    return f"{plugin}({', '.join(['fp32[1:64:1024]'] * tensors + values)})"


def _attribute(keyword: ast.keyword) -> tuple[str, Any]:
    if keyword.arg is None:
        raise ConfigError(f"**{ast.unparse(keyword.value)} is not attribute=value")
    try:
        return keyword.arg, ast.literal_eval(keyword.value)
    except ValueError:
        raise ConfigError(f"{ast.unparse(keyword)!r} does not give a Python literal") from None


def _tensor(node: ast.expr) -> PlayedTensor:
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        raise ConfigError(f"{ast.unparse(node)!r} is neither dtype[extents] nor attribute=value")
    extents = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    ranges = [_range(extent) for extent in extents]
    low, opt, high = (tuple(r[i] for r in ranges) for i in range(3))
    return PlayedTensor(member(node.value.id), low, opt, high)


def _range(node: ast.expr) -> tuple[int, int, int]:
    ends = (node.lower, node.upper, node.step) if isinstance(node, ast.Slice) else (node,) * 3
    low, opt, high = (end.value if isinstance(end, ast.Constant) else None for end in ends)
    if type(low) is not int or type(opt) is not int or type(high) is not int:
        raise ConfigError(f"{ast.unparse(node)!r} is neither a number nor min:opt:max")
    if not low <= opt <= high:
        raise ConfigError(f"{ast.unparse(node)!r} is not min <= opt <= max")
    if high > _LARGEST:
        raise ConfigError(f"{ast.unparse(node)!r} is more than a 64-bit integer holds")
    return low, opt, high
