"""A call of a plugin as text: ``example::increment(fp32[1:64:1024, 1024], block_size=256)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.errors import ConfigError
from tuner.qdp.dtypes import member
from tuner.qdp.rehearsal.builder import Tensor

_CALL = re.compile(r"\s*(\w+::\w+)\s*\((.*)\)\s*", re.DOTALL)
_TENSOR = re.compile(r"\s*(\w+)\s*\[(.*)\]\s*", re.DOTALL)
_ATTRIBUTE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.+?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A plugin with the tensors and attributes of one layer."""

    text: str
    plugin: str
    tensors: tuple[Tensor, ...]
    attributes: Mapping[str, Any]


def parse(text: str) -> Call:
    """Read a call.

    A tensor is a data type with extents, each a number or min:opt:max; an attribute is a Python literal.

    Raises:
        ConfigError: when it does not read so.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ConfigError(f"call {text!r} does not read namespace::name(fp32[1:64:1024, 1024], attribute=value)")
    tensors: list[Tensor] = []
    attributes: dict[str, Any] = {}
    for part in _split(match[2]):
        tensor, attribute = _TENSOR.fullmatch(part), _ATTRIBUTE.fullmatch(part)
        if tensor is not None and not attributes:
            tensors.append(_tensor(text, tensor[1], tensor[2]))
        elif attribute is not None:
            try:
                attributes[attribute[1]] = ast.literal_eval(attribute[2])
            except (ValueError, SyntaxError):
                raise ConfigError(f"call {text!r}: {attribute[2]!r} is not a Python literal") from None
        else:
            raise ConfigError(f"call {text!r}: {part.strip()!r} is neither dtype[extents] nor attribute=value")
    return Call(text, match[1], tuple(tensors), attributes)


def example(plugin: str, tensors: int, attributes: Mapping[str, Any]) -> str:
    """A call to copy and complete."""
    values = [f"{name}={getattr(kind, '__name__', 'array')}" for name, kind in attributes.items()]
    return f"{plugin}({', '.join(['fp32[1:64:1024]'] * tensors + values)})"


def _tensor(text: str, dtype: str, extents: str) -> Tensor:
    ranges = []
    for extent in extents.split(","):
        numbers = extent.strip().split(":")
        if len(numbers) not in (1, 3) or not all(n.strip().isdigit() for n in numbers):
            raise ConfigError(f"call {text!r}: {extent.strip()!r} is neither a number nor min:opt:max")
        low, opt, high = (int(n) for n in (numbers if len(numbers) == 3 else numbers * 3))
        if not low <= opt <= high:
            raise ConfigError(f"call {text!r}: {extent.strip()!r} is not min <= opt <= max")
        ranges.append((low, opt, high))
    try:
        found = member(dtype)
    except ConfigError as e:
        raise ConfigError(f"call {text!r}: {e}") from None
    low_shape, opt_shape, high_shape = zip(*ranges, strict=True)
    return Tensor(found, low_shape, opt_shape, high_shape)


def _split(arguments: str) -> Iterator[str]:
    """The arguments, at the commas outside of brackets."""
    depth, start = 0, 0
    for i, character in enumerate(arguments):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            yield arguments[start:i]
            start = i + 1
    if arguments[start:].strip():
        yield arguments[start:]
