"""The smallest set of tactics that serves every shape."""

from __future__ import annotations

import itertools
import random

import pytest

from tuner.search.tactic import Tactic
from tuner.tuning import cover
from tuner.tuning.cover import loss, smallest

A, B, C, D = (Tactic({"BLOCK": block}) for block in (64, 128, 256, 512))


def test_one_tactic_that_is_near_the_best_everywhere_is_enough() -> None:
    times = {"s": {A: 1.0, C: 1.01}, "m": {B: 1.0, C: 1.015}, "l": {B: 9.0, A: 9.5, C: 9.1}}
    assert smallest(times.values(), 0.02).tactics == (C,)
    assert set(smallest(times.values(), 0.005).tactics) == {A, B}


def test_where_choosing_greedily_takes_three_two_are_found() -> None:
    # B alone serves four of six shapes, but then both of A and C are needed too.
    near = {"1": (A,), "2": (A, B), "3": (A, B), "4": (C, B), "5": (C, B), "6": (C,)}
    found = smallest([{t: 1.0 if t in near[shape] else 2.0 for t in (A, B, C)} for shape in near], 0.02)
    assert set(found.tactics) == {A, C}
    assert found.exact and found.method == "exact"


def test_of_two_sets_of_one_size_the_one_that_loses_less_is_taken() -> None:
    times = {"s": {A: 1.0, B: 1.01, C: 1.0}, "m": {A: 1.01, B: 1.019, C: 1.0}}
    assert smallest(times.values(), 0.02).tactics == (C,)


def test_a_tactic_without_a_time_at_a_shape_does_not_serve_it() -> None:
    assert set(smallest([{A: 1.0}, {B: 1.0}], 0.02).tactics) == {A, B}
    assert loss({B: 1.0}, A) == float("inf")


@pytest.mark.parametrize("seed", range(20))
def test_no_smaller_set_serves_every_shape(seed: int) -> None:
    rng = random.Random(seed)
    tactics = [Tactic({"BLOCK": i}) for i in range(8)]
    times = {str(s): {t: 1 + rng.choice((0.0, 0.01, 0.1, 0.5)) for t in tactics} for s in range(9)}

    def serves(some: tuple[Tactic, ...]) -> bool:
        return all(min(loss(at, t) for t in some) <= 0.02 for at in times.values())

    found = smallest(times.values(), 0.02)
    assert found.exact and serves(found.tactics)
    assert not any(serves(some) for some in itertools.combinations(tactics, len(found.tactics) - 1))


def test_a_search_that_is_cut_short_still_serves_every_shape_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cover, "MOST_BRANCHES", 2)
    found = smallest([{A: 1.0}, {B: 1.0}, {C: 1.0}], 0.02)
    assert set(found.tactics) == {A, B, C}
    assert not found.exact and found.method == "greedy, then improved"
