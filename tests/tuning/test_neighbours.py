"""What one shape tells about another."""

from __future__ import annotations

from tuner.search.tactic import Tactic
from tuner.tuning.neighbours import Tuned, order, seeds

A, B, C, D = (Tactic({"BLOCK": block}) for block in (64, 128, 256, 512))


def test_the_middle_comes_first_and_then_what_is_nearest_to_it() -> None:
    line = [(float(i),) for i in range(13)]
    found = order(line)
    assert found[0] == 6
    assert sorted(found) == list(range(13))
    for i, position in enumerate(found[1:], start=1):
        assert min(abs(position - other) for other in found[:i]) == 1


def test_no_shape_has_no_order() -> None:
    assert order([]) == []


def test_the_winner_of_the_nearest_shape_is_tried_first() -> None:
    tuned = [Tuned((0.0,), {A: 1.0, B: 1.5, D: 9.0}), Tuned((4.0,), {A: 3.0, B: 1.0, D: 9.0})]
    assert seeds((1.0,), tuned, 2) == [A, B]
    assert seeds((3.0,), tuned, 2) == [B, A]


def test_a_tactic_that_was_seen_far_away_alone_is_believed_less() -> None:
    tuned = [Tuned((0.0,), {A: 1.0, B: 1.05}), Tuned((9.0,), {C: 1.0, D: 1.0, A: 1.01})]
    assert seeds((0.0,), tuned, 4)[0] == A
    assert seeds((0.0,), tuned, 4).index(C) > 1


def test_how_long_a_shape_takes_does_not_matter() -> None:
    fast, slow = Tuned((0.0,), {A: 1.0, B: 2.0}), Tuned((2.0,), {A: 1000.0, B: 1900.0})
    assert seeds((1.0,), [fast, slow], 1) == [A]


def test_a_shape_where_everything_failed_says_nothing() -> None:
    assert seeds((0.0,), [Tuned((0.0,), {}), Tuned((5.0,), {B: 2.0})], 4) == [B]
