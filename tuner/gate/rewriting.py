"""Kernels as the interpreter runs them: with their closure, and with the functions that it does not know.

Triton's interpreter executes a rewritten copy of a function. It makes the copy among the globals of the module,
where the variables of an enclosing function are missing, and it knows builtins of Triton only as attributes of
`triton.language`. The copies made here have the closure of the function, and call builtins that were imported by
name, and functions of libdevice, as the interpreter can.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Iterator
from types import CellType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import triton.language as tl
from triton.language.extra import libdevice as declared
from triton.language.extra.cuda import libdevice as defined
from triton.runtime import interpreter

from tuner.gate import libdevice

_patch_lang = interpreter._patch_lang


def replacements(np_dtype: Callable[[Any], np.dtype[Any]]) -> Iterator[tuple[Any, str, Any]]:
    """Yield what to replace while a kernel runs: an object, the name of its attribute, and the attribute's value.

    Args:
        np_dtype: the data type of numpy for one of Triton, or for a block of it.
    """

    def call_libdevice(_: Any, _name: str, _path: str, symbol: str, arguments: Any, kind: Any, _pure: bool) -> Any:
        element = kind.element_ty if isinstance(kind, tl.block_type) else kind
        data = libdevice.call(symbol, [a.data for a in arguments], np_dtype(element))
        return interpreter.TensorHandle(data, element)

    yield interpreter.InterpreterBuilder, "create_extern_elementwise", call_libdevice
    yield interpreter.FunctionRewriter, "_compile_and_exec", _copy
    yield interpreter, "_patch_lang", _patch_language
    for name, member in list(vars(defined).items()):
        if tl.core.is_builtin(member):
            for module in (defined, declared):
                yield module, name, _interpreted(member)


@functools.cache
def _interpreted(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """A builtin of Triton as code that is not compiled calls it."""

    @functools.wraps(builtin)
    def call(*arguments: Any, **named: Any) -> Any:
        return builtin(*arguments, **{**named, "_semantic": interpreter.interpreter_semantic})

    del call.__triton_builtin__  # type: ignore[attr-defined]  # it needs nobody to pass it the interpreter
    return call


def _known(value: Any) -> Any:
    """What a global variable is to be in a copy."""
    if not isinstance(value, FunctionType):
        return value
    if value.__module__ == declared.__name__:
        value = getattr(defined, value.__name__, value)
    return _interpreted(value) if tl.core.is_builtin(value) else value


def _range(*bounds: Any) -> Iterable[Any]:
    """`range`, whose counter has 64 bits where a bound has, as in compiled code: a plain number has as few as do."""
    numbers = range(*bounds)
    if not any(isinstance(b, tl.tensor) and b.dtype == tl.int64 for b in bounds):
        return numbers
    return (tl.tensor(interpreter.TensorHandle(np.array([n], np.int64), tl.int64), tl.int64) for n in numbers)


def _copy(rewriter: Any, tree: ast.Module) -> FunctionType:
    """The rewritten function, among a copy of its globals and in its closure."""
    original = rewriter.fn
    known = {"range": _range, **vars(interpreter), **original.__globals__}
    scope = {name: _known(value) for name, value in known.items()}
    definition = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    _leave_out_values(definition)
    free = original.__code__.co_freevars
    outer = ast.parse(f"def outer({', '.join(free)}):\n    return {original.__name__}")
    made_in = outer.body[0]
    assert isinstance(made_in, ast.FunctionDef)
    made_in.body.insert(0, definition)
    ast.fix_missing_locations(outer)
    names: dict[str, Any] = {}
    exec(compile(outer, rewriter.filename, "exec"), scope, names)
    made = names["outer"](*free)
    cells = dict(zip(free, original.__closure__ or (), strict=True))
    closure = tuple(CellType(_known(cells[name].cell_contents)) for name in made.__code__.co_freevars)
    copy = FunctionType(made.__code__, scope, original.__name__, original.__defaults__, closure)
    copy.__kwdefaults__ = original.__kwdefaults__
    copy.__annotations__ = original.__annotations__
    return copy


def _leave_out_values(definition: ast.FunctionDef) -> None:
    """Annotations and defaults are taken over from the original, which has evaluated them."""
    arguments = definition.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    definition.returns = None
    arguments.defaults = []
    arguments.kw_defaults = [None for _ in arguments.kwonlyargs]


def _patch_language(function: Any) -> Any:
    """What the interpreter does to Triton's language, also for functions of modules that do not import it."""
    modules = {name: value for name, value in function.__globals__.items() if isinstance(value, ModuleType)}
    return _patch_lang(SimpleNamespace(__globals__={**modules, "tl": tl}))
