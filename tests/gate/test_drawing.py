"""Values that follow a rule, at many sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tuner import ascending, below, constant, counts, lengths, permutation
from tuner.errors import ConfigError
from tuner.gate.drawing import call_function, draw_rule
from tuner.kernel.values import ValueRule

SCOPE = {"T": 40, "B": 6, "pad": 2}


def drawn(rule: ValueRule, *shape: int, dtype: str = "i32", seed: int = 0) -> Any:
    values = draw_rule(rule, dtype, shape, np.random.default_rng(seed), SCOPE)
    assert values.shape == shape
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(7,), (3, 2), (2,)])
def test_offsets_ascend_and_include_both_ends(seed: int, shape: tuple[int, ...]) -> None:
    values = drawn(ascending("pad", "T"), *shape, seed=seed)
    assert (values[..., 0] == 2).all() and (values[..., -1] == 40).all()
    assert (np.diff(values, axis=-1) >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_counts_add_up_to_the_total(seed: int) -> None:
    values = drawn(counts("T"), 4, 6, seed=seed)
    assert (values >= 0).all() and (values.sum(axis=-1) == 40).all()
    assert drawn(counts("T"), 1).tolist() == [40]


@pytest.mark.parametrize("width", [1, 5, 40])
def test_a_permutation_repeats_nothing(width: int) -> None:
    for row in drawn(permutation("T"), 3, width):
        assert len(set(row.tolist())) == width and set(row.tolist()) <= set(range(40))


def test_lengths_begin_at_one_and_places_at_zero() -> None:
    assert set(drawn(lengths("B"), 999).tolist()) == set(range(1, 7))
    assert set(drawn(below("B"), 999).tolist()) == set(range(6))
    assert set(drawn(constant("T - 1"), 9).tolist()) == {39}
    assert set(drawn(constant(0.5), 9, dtype="fp16").tolist()) == {0.5}


@pytest.mark.parametrize(
    ("rule", "dtype", "said"),
    [
        (ascending("T", 3), "i32", "ascending(40, 3) begins above its end"),
        (permutation(6), "i32", "permutation(6) has fewer values than the 7 elements of a row"),
        (below("T - 40"), "i32", "below(0) allows no value"),
        (lengths(0), "i32", "lengths(0) allows no value"),
        (counts("B - T"), "i32", "counts(-34) is negative"),
        (below(300), "i8", "below(300) reaches 299, which i8 does not hold"),
        (ascending(0, 300), "u8", "ascending(0, 300) has values that u8 does not hold"),
        (constant(0.5), "i32", "constant(0.5) has values that i32 does not hold"),
        (below("T//(pad - 2)"), "i32", "divides by zero"),
    ],
)
def test_what_does_not_exist_is_refused(rule: ValueRule, dtype: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        drawn(rule, 7, dtype=dtype)
    assert said in str(raised.value)


def raising(_rng: Any, dims: Any) -> Any:
    return dims["V"]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda rng, dims: rng.integers(0, 9, dims["B"]), ""),
        (lambda _rng, dims: list(range(dims["B"])), ""),
        (lambda rng, dims: rng.random(dims["B"]), "has values that i32 does not hold"),
        (lambda rng, dims: rng.integers(0, 9, dims["T"]), "returned shape (40,), declared (6,)"),
        (raising, "raised KeyError: 'V'; see raising ("),
    ],
)
def test_a_function_of_the_declaration_is_held_to_it(function: Any, said: str) -> None:
    def call() -> Any:
        return call_function(function, "i32", (6,), np.random.default_rng(0), SCOPE)

    if not said:
        assert call().dtype == np.int32
        return
    with pytest.raises(ConfigError) as raised:
        call()
    assert said in str(raised.value)
