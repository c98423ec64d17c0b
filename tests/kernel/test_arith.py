"""One launch, written once, on numbers and on what is certain of a dynamic size."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from tuner.kernel.arith import (
    INTEGER_OPERATORS,
    Multiple,
    Operator,
    cdiv,
    divisibility,
    maximum,
    minimum,
    next_power_of_2,
)


def test_integers_behave_as_integers() -> None:
    assert [cdiv(7, 2), maximum(3, 5), minimum(3, 5)] == [4, 5, 3]
    assert [next_power_of_2(n) for n in (1, 2, 3, 4, 1000)] == [1, 2, 4, 4, 1024]


@pytest.mark.parametrize("symbol", sorted(INTEGER_OPERATORS))
def test_what_is_said_to_divide_a_result_divides_it_for_every_value(symbol: Operator) -> None:
    apply = INTEGER_OPERATORS[symbol]
    for factor, other in product((1, 4, 6, 48), (1, 2, 6, 16, 64)):
        for left, right, values in (
            (Multiple(factor), other, [(factor * i, other) for i in range(1, 20)]),
            (other, Multiple(factor), [(other, factor * i) for i in range(1, 20)]),
            (Multiple(factor), Multiple(other), [(factor * i, other * j) for i in range(1, 9) for j in range(1, 9)]),
        ):
            expr = left if isinstance(left, Multiple) else right
            assert isinstance(expr, Multiple)
            known = divisibility(expr.apply(symbol, left, right))
            assert all(apply(a, b) % known == 0 for a, b in values if known)


def test_divisibility_survives_what_keeps_it() -> None:
    rows = Multiple(1)
    assert divisibility(rows * 4096 + 16) == 16
    assert divisibility(2 * Multiple(8)) == 16
    assert divisibility(cdiv(Multiple(64), 16)) == 4
    assert divisibility(Multiple(64) // 16) == 4
    assert divisibility(128 - Multiple(48)) == 16


def test_a_branch_on_a_dynamic_size_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot branch on a dynamic dimension"):
        bool(Multiple(4))


@pytest.mark.parametrize("compare", [operator.eq, operator.ne, operator.lt, operator.ge])
def test_a_comparison_of_a_dynamic_size_is_refused_on_either_side(compare: Callable[[Any, Any], bool]) -> None:
    for left, right in ((Multiple(4), 4), (4, Multiple(4)), (Multiple(4), Multiple(4))):
        with pytest.raises(TypeError):
            compare(left, right)
