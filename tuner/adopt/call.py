"""A call of a host function as text: ``f(fp16[M=8192, N=4096], fp16[N], eps=1e-6)``.

What stands in the brackets is Python. A tensor is a subscripted data type, each extent a dimension with its size
(``M=8192``), a dimension that has one already (``N``), arithmetic on them (``B + 1``) or a plain number. Letters tie
dimensions; equal plain numbers are one dimension, which gets a letter. What else is passed are Python's literals, lists
and tuples of them, and data types by name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.adopt.tape import DataType
from tuner.errors import ConfigError, did_you_mean
from tuner.frontends.dtypes import DTYPES
from tuner.kernel.arith import INTEGER_OPERATORS, Operator

_LETTERS = ("N", "M", "K", "P", "Q", "R", "S", "U", "V", "W", "X", "Y", "Z")
_VALUES = ("ascending", "lengths", "permutation", "below", "constant")
_OPERATORS: Mapping[type, Operator] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//"}


@dataclass(frozen=True)
class GivenTensor:
    """A tensor of the call.

    Attributes:
        dtype: its data type.
        extents: arithmetic on dimensions, as text.
        values: what an input of integers holds, as it is declared: ``below("V")``. Empty: nothing is said.
    """

    dtype: str
    extents: tuple[str, ...]
    values: str = ""


@dataclass(frozen=True)
class HostCall:
    """A call of a host function.

    Attributes:
        arguments: what is passed by position: a `GivenTensor`, a literal, a `DataType`, or a list of them.
        named: what is passed by name.
        sizes: each dimension with the size that it was given.
        lettered: the plain numbers that became a dimension, by the letter they got.
    """

    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    sizes: Mapping[str, int]
    lettered: Mapping[str, int] = field(default_factory=dict)

    def bound(self, parameters: tuple[str, ...]) -> dict[str, Any]:
        """Every argument by the name of the parameter that takes it, or by its position."""
        by_position = {
            parameters[i] if i < len(parameters) else f"argument{i}": a for i, a in enumerate(self.arguments)
        }
        return {**by_position, **self.named}


def parse_call(text: str) -> HostCall:
    """Read a call.

    Raises:
        ConfigError: when it does not read so, with what is wrong.
    """
    try:
        # An extent M=8192 in a subscript is no Python; M: 8192 is.
        node = ast.parse(_sizes_as_slices(text), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            raise ConfigError("does not read f(fp16[M=8192, N=4096], fp16[N], eps=1e-6)")
        sizes = dict(_declared(node))
        reader = _Reader(sizes, _free_letters(node))
        arguments = tuple(reader.value(a) for a in node.args)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ConfigError(f"**{ast.unparse(keyword.value)} is not name=value")
            named[keyword.arg] = reader.value(keyword.value)
        return HostCall(arguments, named, {**sizes, **reader.lettered}, reader.lettered)
    except SyntaxError as e:
        raise ConfigError(f"call {text!r}: {e.msg}") from None
    except ConfigError as e:
        raise ConfigError(f"call {text!r}: {e}") from None


def evaluate(extent: str, sizes: Mapping[str, int]) -> int:
    """The value of an extent at the given sizes."""
    return _evaluate(ast.parse(extent, mode="eval").body, sizes)


def tensors_in(value: Any) -> Iterator[GivenTensor]:
    """The tensors of an argument."""
    if isinstance(value, GivenTensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def _sizes_as_slices(text: str) -> str:
    depth, out = 0, []
    for i, c in enumerate(text):
        depth += (c == "[") - (c == "]")
        if c == "=" and depth and text[i - 1] not in "=<>!" and text[i + 1 : i + 2] != "=":
            before = re.search(r"(\w+)\s*$", text[:i])
            out.append(":" if before and not before[1].isdigit() else c)
        else:
            out.append(c)
    return "".join(out)


def _declared(node: ast.Call) -> Iterator[tuple[str, int]]:
    """The dimensions that are given a size."""
    sizes: dict[str, int] = {}
    for found in ast.walk(node):
        if isinstance(found, ast.Slice):
            name, size = found.lower, found.upper
            if not isinstance(name, ast.Name) or not isinstance(size, ast.Constant) or type(size.value) is not int:
                raise ConfigError(f"{ast.unparse(found).replace(':', '=')!r} is not dimension=size")
            if sizes.setdefault(name.id, size.value) != size.value or size.value < 1:
                raise ConfigError(f"dimension {name.id} has two sizes, {sizes[name.id]} and {size.value}")
            yield name.id, size.value


def _free_letters(node: ast.Call) -> Iterator[str]:
    taken = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    yield from (n for n in _LETTERS if n not in taken)
    raise ConfigError("too many plain numbers; give dimensions names, as in fp16[M=8192]")


@dataclass
class _Reader:
    """Reads the values of a call.

    Attributes:
        sizes: the dimensions that are given a size.
        free: letters for plain numbers.
        lettered: those that were used.
    """

    sizes: Mapping[str, int]
    free: Iterator[str]
    lettered: dict[str, int] = field(default_factory=dict)

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Subscript):
            return self._tensor(node, "")
        if isinstance(node, ast.Call):
            return self._with_values(node)
        if isinstance(node, ast.Name) and node.id in DTYPES:
            return DataType(node.id)
        if isinstance(node, ast.List | ast.Tuple):
            items = [self.value(item) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.Name) and node.id in self.sizes:
            raise ConfigError(f"{node.id} is a dimension, not a value; the function has it from its tensors")
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise ConfigError(f"{ast.unparse(node)!r} is neither dtype[extents] nor a Python literal") from None

    def _with_values(self, node: ast.Call) -> GivenTensor:
        made = node.func
        if isinstance(made, ast.Attribute) and isinstance(made.value, ast.Subscript) and made.attr in _VALUES:
            spelt = [ast.unparse(a) if isinstance(a, ast.Constant) else f'"{ast.unparse(a)}"' for a in node.args]
            return self._tensor(made.value, f"{made.attr}({', '.join(spelt)})")
        known = ", ".join(f".{v}(…)" for v in _VALUES)
        raise ConfigError(f"{ast.unparse(node)!r} is no tensor; what one holds is said by {known} behind it")

    def _tensor(self, node: ast.Subscript, values: str) -> GivenTensor:
        if not isinstance(node.value, ast.Name) or node.value.id not in DTYPES:
            name = ast.unparse(node.value)
            raise ConfigError(f"{name!r} is no data type{did_you_mean(name, DTYPES)}")
        extents = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return GivenTensor(node.value.id, tuple(self._extent(e) for e in extents), values)

    def _extent(self, node: ast.expr) -> str:
        if isinstance(node, ast.Slice):
            return ast.unparse(node.lower)  # type: ignore[arg-type]
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value > 0:
            if node.value == 1:
                return "1"
            for letter, size in self.lettered.items():
                if size == node.value:
                    return letter
            letter = next(self.free)
            self.lettered[letter] = node.value
            return letter
        _evaluate(node, self.sizes)
        return ast.unparse(node)


def _evaluate(node: ast.expr, sizes: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name) if name in sizes:
            return sizes[name]
        case ast.Name(id=name):
            raise ConfigError(
                f"dimension {name} has no size; write {name}=8192 in one place{did_you_mean(name, sizes)}"
            )
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return INTEGER_OPERATORS[_OPERATORS[type(op)]](_evaluate(left, sizes), _evaluate(right, sizes))
        case ast.Call(func=ast.Name(id="cdiv" | "max" | "min" as name), args=[left, right]):
            return INTEGER_OPERATORS[name](_evaluate(left, sizes), _evaluate(right, sizes))
    raise ConfigError(f"{ast.unparse(node)!r} is no extent; it is made of dimensions, numbers, + - * // and cdiv")
