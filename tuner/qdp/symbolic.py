"""TensorRT's symbolic integers as operands of a kernel's launch arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuner.kernel.arith import Expr, Int, Operator

if TYPE_CHECKING:
    import tensorrt.plugin as trtp


class Symbolic(Expr):
    """A size that TensorRT knows as an expression (`tensorrt.plugin.SymInt32`) of its dynamic dimensions."""

    def __init__(self, expr: trtp.SymInt32) -> None:
        self.expr = expr

    def apply(self, operator: Operator, left: Int, right: Int) -> Symbolic:
        return Symbolic(_operators()[operator](symbolic(left), symbolic(right)))


def symbolic(value: Int) -> trtp.SymInt32:
    """An operand of an expression. Only inside a call of TensorRT's, where there is a builder of expressions."""
    import tensorrt.plugin as trtp

    # An expression has no reflected operators: the constant in `2 * n` has to become one first.
    return trtp.ShapeExpr(value) if isinstance(value, int) else value.expr  # type: ignore[attr-defined]


def _operators() -> dict[Operator, Callable[[Any, Any], Any]]:
    import tensorrt.plugin as trtp

    return {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "//": lambda a, b: a // b,
        "cdiv": trtp.cdiv,
        "max": trtp.max,
        "min": trtp.min,
    }
