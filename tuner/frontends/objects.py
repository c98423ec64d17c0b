"""What a value consists of: the parts that decide how it behaves, as a mapping to be described further.

Where a value does not say what it consists of, the answer is None: the caller has to refuse it, since nothing would
notice that it changed.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import (
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any

from tuner.frontends.origins import library_of

Parts = Mapping[str, Any]

_FUNCTIONS: Mapping[type, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    MethodType: ("__func__", "__self__"),
    functools.cached_property: ("func",),
    type(functools.cache(len)): ("__wrapped__",),  # what was called before does not count
}
"""Objects around functions, by the attributes that tell what they do."""

_OF_OBJECT = (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
)


def around_functions(value: Any) -> tuple[str, Parts] | None:
    """The kind and the parts of an object whose business is to call functions; None for any other."""
    for kind, names in _FUNCTIONS.items():
        if isinstance(value, kind):
            return kind.__name__, {name: getattr(value, name) for name in names}
    if isinstance(value, _OF_OBJECT):
        return "attribute", {"name": value.__name__, "of": value.__objclass__}
    top, names_of_bases = _family(value)
    if top == "triton" and "Autotuner" in names_of_bases:
        names = ("fn", "configs", "keys", "early_config_prune", "perf_model", "configs_top_k")
        return "autotuned", {name: getattr(value, name) for name in names}
    if top == "triton" and "Heuristics" in names_of_bases:
        return "heuristics", {"fn": value.fn, "values": value.values}
    if top == "triton" and isinstance(getattr(value, "fn", None), FunctionType):
        return _jit(value)
    if top == "numba" and isinstance(getattr(value, "py_func", None), FunctionType):
        # Options appear with versions of Numba; those that are off are as if they were not there.
        options = {n: v for n, v in value.targetoptions.items() if v and v != "never"}
        files = [_as_path(link) for link in options.pop("link", ())]
        return "numba", {"function": value.py_func, "options": options, "link": files}
    if top == "numba" and isinstance(getattr(value, "_defn", None), FunctionType):
        return "intrinsic", {"function": value._defn}
    if top == "numpy" and "vectorize" in names_of_bases:
        return "vectorized", {name: getattr(value, name) for name in ("pyfunc", "otypes", "signature", "excluded")}
    return None


def _jit(value: Any) -> tuple[str, Parts]:
    """A function under one of Triton's decorators, or the interpreter's version of it, which is described alike."""
    given = getattr(value, "kwargs", {})
    names = ("do_not_specialize", "do_not_specialize_on_alignment", "noinline")
    parts = {name: option for name in names if (option := getattr(value, name, None) or given.get(name))}
    written = textwrap.dedent("".join(getattr(value, "raw_src", ())))
    if not written.endswith(source := getattr(value, "src", "")):
        parts["source"] = source
    kind = type(value).__name__
    return "" if kind in ("JITFunction", "InterpretedFunction") else kind, {"fn": value.fn, **parts}


def _as_path(link: Any) -> Any:
    return PurePath(link) if isinstance(link, str) else link


def literal(value: Any) -> tuple[str, Parts] | None:
    """A value of a library that says in a few words all that it is, with the parts that remain; None for others."""
    top, bases = _family(value)
    if isinstance(value, Enum):
        return "member", {"of": type(value), "name": value._name_, "value": value._value_}
    if type(value).__module__ == "typing" and type(value).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
        return "type variable", {"name": value.__name__}
    if top == "triton" and "constexpr" in bases:
        return "constexpr", {"": value.value}
    if top == "triton" and "dtype" in bases:
        return f"triton type {value}", {}
    if top == "numba" and "Type" in bases:
        return f"numba type {value.name}", {}
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.dtype) and value.names is None and value.subdtype is None:
        return f"dtype {value.name} {value.str}", {}
    if isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return "number", {"dtype": value.dtype, "bytes": value.tobytes()}
    if type(value) is numpy.ndarray:
        # A compiler that takes an array in can tell the order of its elements in memory.
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        content = value.tolist() if value.dtype.hasobject else hashlib.sha256(value.tobytes()).hexdigest()
        return "array", {"dtype": value.dtype, "shape": value.shape, "order": order, "content": content}
    return None


def _family(value: Any) -> tuple[str, set[str]]:
    """The top package of the library that defines a value's type, and the names of its classes there."""
    top = type(value).__module__.partition(".")[0]
    return top, {base.__name__ for base in type(value).__mro__ if base.__module__.partition(".")[0] == top}


# -- objects by their content --------------------------------------------------------------------


def contents_of(value: Any) -> Parts | None:
    """All that an object holds: its fields and, of what is written in C, what `pickle` would build it again from.

    None when it does not say: a lock, an open file, an iterator of C code.
    """
    kind = type(value)
    try:
        reduce = copyreg.dispatch_table.get(kind)
        made = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:
        return None
    if isinstance(made, str):  # "look it up under this name"
        return None
    call, arguments, state, items, entries = (*made, None, None, None)[:5]
    parts: dict[str, Any] = {}
    if call is copyreg.__newobj__:  # type: ignore[attr-defined]
        arguments = arguments[1:]
    elif call is not kind:
        parts["made by"] = call
    parts |= {"from": arguments, "items": list(items or ()), "entries": list(entries or ())}
    parts = {name: part for name, part in parts.items() if part}
    own = library_of(kind.__module__) is None
    if own:
        parts |= {f".{name}": part for name, part in _fields(value)}
    if not own or any(getattr(kind, n, None) is not getattr(object, n, None) for n in _PICKLING):
        parts["state"] = _without_cached(kind, state)
    return {name: part for name, part in parts.items() if part is not None or name.startswith(".")}


_PICKLING = ("__reduce_ex__", "__reduce__", "__getstate__")


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object itself has, in its dictionary and in slots."""
    yield from _without_cached(type(value), getattr(value, "__dict__", {})).items()
    for base in type(value).__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, MemberDescriptorType) and name not in ("__dict__", "__weakref__"):
                try:
                    yield name, slot.__get__(value)
                except AttributeError:  # not set
                    continue


def _without_cached(kind: type, state: Any) -> Any:
    """A dictionary of attributes without those that a `cached_property` remembers, whose code is in the class."""
    if not isinstance(state, dict):
        return state
    cached = functools.cached_property
    return {n: v for n, v in state.items() if not isinstance(inspect.getattr_static(kind, str(n), None), cached)}


# -- classes -------------------------------------------------------------------------------------

_NOISE = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__abstractmethods__", "_abc_impl"),
        *("__firstlineno__", "__static_attributes__", "__slotnames__"),
        *("__annotate__", "__annotate_func__", "__annotations_cache__"),
    }
)
"""Members that say where a class is written, or that Python adds while it is used."""

_SAYS_WHAT_IS_GENERATED = ("__dataclass_fields__", "__attrs_attrs__", "_field_defaults")
"""Members of classes that wrote some of their methods themselves, from what these say."""


def members_of(cls: type) -> Parts:
    """All that decides how instances of a class behave: bases, metaclass, and its own members."""
    if (written := _aggregated(cls)) is not None:
        return {"aggregate": written}
    members = {name: member for name, member in vars(cls).items() if name not in _NOISE}
    if any(name in members for name in _SAYS_WHAT_IS_GENERATED):
        members = {name: member for name, member in members.items() if not _is_generated(name, member)}
    if "__dataclass_fields__" in members:
        members |= _dataclass(members)
    if issubclass(cls, Enum):
        named = cls.__members__
        members = {n: m for n, m in members.items() if n not in named and not (n[0] == n[-1] == "_" != n[1])}
        members = {**members, "members": {name: member._value_ for name, member in named.items()}}
    return {"bases": cls.__bases__, "metaclass": type(cls), **{f".{name}": member for name, member in members.items()}}


def _aggregated(cls: type) -> type | None:
    """The class that Triton made an aggregate of, which is all that the aggregate depends on; None for others.

    What Triton takes over differs between what is compiled and what is interpreted, and with its versions. The
    aggregate keeps the class in the closure of its `__new__` (Triton 3.6 to 3.9).
    """
    if not vars(cls).get("__triton_aggregate__", False):
        return None
    make = vars(cls)["__new__"].__func__
    written = dict(zip(make.__code__.co_freevars, make.__closure__ or (), strict=True)).get("cls")
    return None if written is None else written.cell_contents


def _is_generated(name: str, member: Any) -> bool:
    function = getattr(member, "__func__", member)
    if not isinstance(function, FunctionType):
        return False
    from_text = name.startswith("__") and function.__code__.co_filename.startswith("<")
    return from_text or function.__globals__.get("__name__") in _GENERATORS


_GENERATORS = ("dataclasses", "reprlib", "collections", "attr._make")


def _dataclass(members: Parts) -> Parts:
    """What a dataclass was made from, in words that are the same in every version of Python."""
    of_field = ("type", "default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")
    of_class = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
    fields = members["__dataclass_fields__"].items()
    return {
        "__dataclass_fields__": {name: [getattr(field, n) for n in of_field] for name, field in fields},
        "__dataclass_params__": [getattr(members["__dataclass_params__"], n) for n in of_class],
    }
