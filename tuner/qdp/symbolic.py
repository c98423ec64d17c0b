"""TensorRT's symbolic integers as operands of a kernel's arithmetic, of its launch and of its shapes.

`register` is first called where there may be no builder of expressions, and bindings before 10.15 leave an old one
behind there, with which a constant that comes first makes no expression. So every operation starts from a symbolic
operand.
"""

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
        if not isinstance(left, Symbolic):
            assert isinstance(left, int) and isinstance(right, Symbolic)
            left = Symbolic(right.expr * 0 + left)
        return Symbolic(_operators()[operator](left.expr, operand(right)))


def operand(value: Int) -> trtp.SymInt32 | int:
    """What stands on the right of an operator, or for an extent."""
    return value if isinstance(value, int) else value.expr  # type: ignore[attr-defined]


def symbolic(value: Int) -> trtp.SymInt32:
    """An expression of any value. Only inside a call of TensorRT's, where there is a builder of expressions."""
    import tensorrt.plugin as trtp

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
