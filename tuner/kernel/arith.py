"""Launch arithmetic that is written once and evaluated on more than one kind of integer.

A kernel's launch is plain Python arithmetic. Evaluated on `int` it gives the grid used for timing;
on `Multiple` it tells which arguments are divisible over a problem's whole range; on TensorRT's
symbolic shapes it gives the launch an engine evaluates. Anything but an `int` derives from `Expr`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, TypeAlias

Operator: TypeAlias = Literal["+", "-", "*", "//", "cdiv", "max", "min"]

INTEGER_OPERATORS: dict[Operator, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "cdiv": lambda a, b: -(-a // b),
    "max": lambda a, b: max(a, b),
    "min": lambda a, b: min(a, b),
}


class Expr(ABC):
    """An integer that is not known as a number. Supports `+ - * //`, `cdiv`, `maximum`, `minimum`."""

    @abstractmethod
    def apply(self, operator: Operator, left: Int, right: Int) -> Expr:
        """Return `left operator right`, at least one of which has this type."""

    def __add__(self, other: Int) -> Expr:
        return self.apply("+", self, other)

    def __radd__(self, other: Int) -> Expr:
        return self.apply("+", other, self)

    def __sub__(self, other: Int) -> Expr:
        return self.apply("-", self, other)

    def __rsub__(self, other: Int) -> Expr:
        return self.apply("-", other, self)

    def __mul__(self, other: Int) -> Expr:
        return self.apply("*", self, other)

    def __rmul__(self, other: Int) -> Expr:
        return self.apply("*", other, self)

    def __floordiv__(self, other: Int) -> Expr:
        return self.apply("//", self, other)

    def __rfloordiv__(self, other: Int) -> Expr:
        return self.apply("//", other, self)

    def __bool__(self) -> bool:
        raise TypeError("a launch cannot branch on a dynamic dimension: its value is only known at run time")

    def __eq__(self, other: object) -> bool:
        return bool(self)  # identity, Python's own answer, would quietly take one branch

    __hash__ = None  # type: ignore[assignment]


Int: TypeAlias = int | Expr


def combine(operator: Operator, left: Int, right: Int) -> Int:
    """`left operator right`."""
    if isinstance(left, Expr):
        return left.apply(operator, left, right)
    if isinstance(right, Expr):
        return right.apply(operator, left, right)
    return INTEGER_OPERATORS[operator](left, right)


def cdiv(a: Int, b: Int) -> Int:
    """`a / b` rounded up."""
    return combine("cdiv", a, b)


def maximum(a: Int, b: Int) -> Int:
    """The larger of two sizes, either of which may be dynamic."""
    return combine("max", a, b)


def minimum(a: Int, b: Int) -> Int:
    """The smaller of two sizes, either of which may be dynamic."""
    return combine("min", a, b)


class Multiple(Expr):
    """Any integer divisible by `factor`: what is certain of a dynamic dimension over its range."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def apply(self, operator: Operator, left: Int, right: Int) -> Multiple:
        a = left.factor if isinstance(left, Multiple) else left
        b = right.factor if isinstance(right, Multiple) else right
        assert isinstance(a, int) and isinstance(b, int)
        if operator == "*":
            return Multiple(a * b)
        if operator in ("//", "cdiv"):
            exact = isinstance(right, int) and right > 0 and a % right == 0
            return Multiple(a // b if exact else 1)
        return Multiple(math.gcd(a, b))


def divisibility(value: Int) -> int:
    """The largest integer known to divide `value`; 0 divides by everything, so 0 gives 0."""
    if isinstance(value, int):
        return abs(value)
    assert isinstance(value, Multiple)
    return value.factor


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least `n`, for n >= 1."""
    return 1 << (n - 1).bit_length()
