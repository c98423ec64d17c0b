"""Classes that take what the real ones take: their methods' signatures are read from the bindings.

pybind11 writes every signature into the docstring. A simulated class may only have methods and
properties that the real one has; each call is held against the documented overloads, and nothing else
can be set on an object.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=type)

SIMULATED: dict[str, type] = {}
"""The simulated classes by the name of the real ones."""


class Misuse(Exception):  # noqa: N818
    """A call at the wrong time, or on something that is not there any more."""


def strict(real: type) -> Callable[[T], T]:
    """Hold a simulated class to the real one of the bindings."""

    def decorate(simulated: T) -> T:
        SIMULATED[real.__name__] = simulated
        for name, member in [(n, m) for n, m in vars(simulated).items() if not n.startswith("_")]:
            if not hasattr(real, name):
                raise AttributeError(f"the real {real.__name__} has no {name!r}")
            actual = _find(real, name)
            if isinstance(member, property):
                if not isinstance(actual, property) or (member.fset and not actual.fset):
                    raise AttributeError(f"{real.__name__}.{name} is no such property in the bindings")
            else:
                setattr(simulated, name, _checked(member, overloads(name, actual.__doc__ or "")))
        init = overloads("__init__", _find(real, "__init__").__doc__ or "")
        constructor = _checked(vars(simulated)["__init__"], init) if init else _no_constructor
        setattr(simulated, "__init__", constructor)  # noqa: B010
        setattr(simulated, "__setattr__", lambda self, name, value: _set(self, real, name, value))  # noqa: B010
        return simulated

    return decorate


def make(simulated: type, **state: Any) -> Any:
    """An object of a class that users cannot construct."""
    made: Any = object.__new__(simulated)
    for name, value in state.items():
        object.__setattr__(made, f"_{name}", value)
    return made


def overloads(name: str, doc: str) -> list[list[tuple[str, str, bool]]]:
    """Each documented signature: name, type and whether there is a default, for each parameter but self."""
    found = []
    for text in re.findall(rf"^(?:\d+\. )?{re.escape(name)}\((self: .*)\) -> ", doc, re.MULTILINE):
        parameters = []
        for parameter in _split(text)[1:]:
            label, _, rest = parameter.partition(": ")
            kind, default, _ = rest.partition(" = ")
            parameters.append((label.strip(), kind.strip(), bool(default)))
        found.append(parameters)
    return found


def accepts(kind: str, value: Any) -> bool:
    """Whether pybind11 converts a value to what a signature calls `kind`."""
    name = kind.rpartition(".tensorrt.")[2]
    import tensorrt

    if kind.endswith(".tensorrt.Dims"):
        return isinstance(value, tuple | list | tensorrt.Dims) and all(type(v) is int for v in value)
    if re.fullmatch(r"\w+\.tensorrt\.[\w.]+", kind):
        return isinstance(value, SIMULATED.get(name) or getattr(tensorrt.tensorrt, name))
    match kind:
        case "int" | "typing.SupportsInt":
            return hasattr(value, "__index__")
        case "bool":
            return type(value) is bool
        case "str":
            return isinstance(value, str)
        case "tuple" | "list":
            return type(value).__name__ == kind
        case "buffer" | "typing_extensions.Buffer":
            return isinstance(value, bytes | bytearray | memoryview)
        case "function" | "collections.abc.Callable":
            return callable(value)
    raise NotImplementedError(f"no rule for a parameter of type {kind!r}")


def _find(real: type, name: str) -> Any:
    return next(vars(c)[name] for c in real.__mro__ if name in vars(c))


def _checked(method: Callable[..., Any], signatures: list[list[tuple[str, str, bool]]]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not any(_fits(s, args, kwargs) for s in signatures):
            raise TypeError(
                f"{method.__name__}(): incompatible function arguments {args} {kwargs}; known: {signatures}"
            )
        return method(self, *args, **kwargs)

    return call


def _fits(signature: list[tuple[str, str, bool]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    names = [name for name, _, _ in signature]
    if len(args) > len(names) or any(k not in names[len(args) :] for k in kwargs):
        return False
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return all(accepts(kind, given[n]) if n in given else default for n, kind, default in signature)


def _no_constructor(self: Any, *args: Any, **kwargs: Any) -> None:
    raise TypeError(f"{type(self).__name__}: No constructor defined!")


def _set(self: Any, real: type, name: str, value: Any) -> None:
    if name.startswith("_"):
        object.__setattr__(self, name, value)
        return
    own = getattr(type(self), name, None)
    if not isinstance(own, property) or own.fset is None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set")
    annotation = re.search(r"arg1: (.+?)\) -> ", _find(real, name).fset.__doc__ or "")
    if annotation and not accepts(annotation[1], value):
        raise TypeError(f"{type(self).__name__}.{name} takes {annotation[1]}, not {value!r}")
    own.fset(self, value)


def _split(text: str) -> list[str]:
    """Parameters, at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[<(") - (character in "]>)")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
