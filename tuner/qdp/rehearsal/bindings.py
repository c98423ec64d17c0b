"""Make `tensorrt` and `tensorrt.plugin` importable from the bindings wheel alone.

The wheel's extension module asks the dynamic loader for TensorRT's libraries by SONAME. Empty libraries
of those names, with the few symbols it looks up, satisfy the loader. All of `tensorrt.plugin` is then
NVIDIA's own code; what it takes from the engine (the plugin registry, and the holders of tensors and
expressions) is stood in for here.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

_PACKAGE = "tensorrt_bindings"
_SYMBOLS = rb"create\w+_INTERNAL|get\w*PluginRegistry|initLibNvInferPlugins|getNvOnnxParserVersion"

_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "SUM": lambda a, b: a + b,
    "PROD": lambda a, b: a * b,
    "SUB": lambda a, b: a - b,
    "MAX": max,
    "MIN": min,
    "FLOOR_DIV": lambda a, b: a // b,
    "CEIL_DIV": lambda a, b: -(-a // b),
    "EQUAL": lambda a, b: int(a == b),
    "LESS": lambda a, b: int(a < b),
}

Shapes = Sequence[Sequence[int]]


class BindingsError(Exception):
    """The bindings cannot be loaded here: one line that says why and what to do."""


class RuleBroken(Exception):  # noqa: N818
    """A rule that a plugin breaks.

    Attributes:
        rule: its name.
        message: what is wrong, where, and what to do.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(rule, message)
        self.rule = rule
        self.message = message

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


class Expression:
    """Stands in for `IDimensionExpr`: a constant, a dimension of an input, or an operation on two others."""

    def __init__(self, operation: str, *operands: Any) -> None:
        self.operation = operation
        self.operands = operands

    def is_constant(self) -> bool:
        return self.operation == "constant"

    def get_constant_value(self) -> int:
        return int(self.operands[0])

    def at(self, shapes: Shapes) -> int:
        """Its value for inputs of these shapes."""
        if self.operation == "constant":
            return int(self.operands[0])
        if self.operation == "dimension":
            tensor, axis = self.operands
            return int(shapes[tensor][axis])
        if self.operation == "size":  # the extent of an output that depends on data counts as its upper bound
            return int(self.operands[0].at(shapes))
        left, right = (operand.at(shapes) for operand in self.operands)
        if right == 0 and self.operation.endswith("_DIV"):
            raise RuleBroken("expressions", f"the launch divides {left} by zero for input shapes {list(shapes)}")
        return _OPERATIONS[self.operation](left, right)


class ExpressionBuilder:
    """Stands in for `IExprBuilder`; folds constants as the engine does."""

    def constant(self, value: int) -> Expression:
        return Expression("constant", value)

    def operation(self, operation: Any, left: Any, right: Any) -> Expression:
        for operand in (left, right):
            if not isinstance(operand, Expression):
                raise RuleBroken(
                    "expressions",
                    f"an operand of {operation.name} is {operand!r}, which is no expression: it was made outside of "
                    "TensorRT's call, or from a float or a numpy value; use int()",
                )
        made = Expression(operation.name, left, right)
        return Expression("constant", made.at([])) if left.is_constant() and right.is_constant() else made

    def declare_size_tensor(self, index: int, opt: Expression, upper: Expression) -> Expression:
        return Expression("size", upper)


class DimsExprs(list[Any]):
    """Stands in for `DimsExprs`."""

    def __init__(self, length: int) -> None:
        super().__init__([None] * length)


class Registry:
    """Stands in for `IPluginRegistry`."""

    def __init__(self) -> None:
        self._creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str = "") -> bool:
        return self._creators.setdefault((creator.name, creator.plugin_version, namespace), creator) is creator

    def get_creator(self, name: str, version: str, namespace: str = "") -> Any:
        return self._creators.get((name, version, namespace))


class NetworkTensor:
    """Stands in for `ITensor`."""


def load() -> ModuleType:
    """Import `tensorrt` on a machine without TensorRT, once per process.

    Raises:
        BindingsError: when the wheel or a C compiler is missing, or something imported `tensorrt` before.
    """
    loaded = sys.modules.get("tensorrt")
    if loaded is not None:
        if getattr(loaded, "ITensor", None) is NetworkTensor:
            return loaded
        raise BindingsError("tensorrt is imported already; a rehearsal needs a process of its own")
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BindingsError("NVIDIA's Python layer is not installed; pip install 'qdp-tuner[rehearse]'")
    _load_stubs(Path(spec.submodule_search_locations[0], "tensorrt.so"))
    trt = importlib.import_module(_PACKAGE)
    registry = Registry()
    stand_ins: Mapping[str, Any] = {
        "get_plugin_registry": lambda *_: registry,
        "get_builder_plugin_registry": lambda *_: registry,
        "IDimensionExpr": Expression,
        "IExprBuilder": ExpressionBuilder,
        "DimsExprs": DimsExprs,
        "ISymExpr": SimpleNamespace,
        "ITensor": NetworkTensor,
    }
    for name, value in stand_ins.items():
        setattr(trt, name, value)
    sys.modules["tensorrt"], sys.modules["tensorrt.tensorrt"] = trt, trt.tensorrt
    logger = trt.Logger
    trt.Logger = _quiet(logger)  # type: ignore[attr-defined]
    try:
        tensors = importlib.import_module("tensorrt.plugin._tensor")
    except ImportError as e:
        raise BindingsError(f"tensorrt {trt.__version__} has no plugin layer ({e}); 10.9 or newer is needed") from e
    finally:
        trt.Logger = logger  # type: ignore[attr-defined]
    tensors.SymIntExpr.__bool__ = _refuse_branch
    if "__bool__" in vars(tensors.ShapeExpr):
        del tensors.ShapeExpr.__bool__
    return trt


def _quiet(logger: Any) -> Any:
    """A logger for errors alone. The layer greets whoever imports it with a warning, on stdout."""

    class Quiet(logger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(logger.ERROR)

    return Quiet


def _refuse_branch(value: Any) -> bool:
    """The truth of an expression. Before 10.16 NVIDIA's layer calls every one true, which takes a wrong branch."""
    if getattr(value, "is_fake", False) or not value.is_constant:
        raise RuleBroken(
            "branch",
            "a plugin's function branches on a dynamic dimension, whose value is only known at run time; use "
            "cdiv, max and min, or one tactic or plugin per case",
        )
    return bool(value.constant_value())


def _load_stubs(extension: Path) -> None:
    """Load empty libraries of the names, with the symbols, that the extension module asks for."""
    content = extension.read_bytes()
    names = sorted({m.decode() for m in re.findall(rb"\0(libnv\w+\.so\.\d+)(?=\0)", content)})
    symbols = sorted({m.decode() for m in re.findall(rb"\0(" + _SYMBOLS + rb")(?=\0)", content)})
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]  # CC may carry options: "ccache gcc"
    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        source = Path(folder, "stub.c")
        source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
        for name in names:
            library = Path(folder, name)
            command = [*compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(library), str(source)]
            try:
                subprocess.run(command, capture_output=True, text=True, check=True)
            except FileNotFoundError:
                raise BindingsError(f"no C compiler called {compiler[0]!r}; install gcc, or name one with CC") from None
            except PermissionError:
                raise BindingsError(f"CC={compiler[0]!r} is no program; name a C compiler, such as gcc") from None
            except subprocess.CalledProcessError as e:
                said = " ".join(e.stderr.split())
                raise BindingsError(f"{shlex.join(compiler)} makes no empty library ({said}); install gcc") from e
            ctypes.CDLL(str(library))  # stays loaded, and answers to its SONAME
