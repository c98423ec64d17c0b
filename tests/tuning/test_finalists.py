"""The winner depends on times and a stable rule, never on luck."""

from __future__ import annotations

from itertools import permutations

from tuner.outcome import Timing
from tuner.search.tactic import Tactic
from tuner.tuning.finalists import choose, shortlist

A, B, C, D = sorted((Tactic({"x": i}) for i in range(4)), key=lambda t: t.id)


def us(time_us: float) -> Timing:
    return Timing(time_us, "measurement", "median")


def near(a: Timing, b: Timing) -> bool:
    return abs(a.time_us - b.time_us) <= 0.5


def test_the_fastest_wins_when_it_stands_out() -> None:
    choice = choose({A: us(12), B: us(10), C: us(11)}, A, None, near)
    assert (choice.winner, choice.ties) == (B, ())


def test_among_ties_the_incumbent_wins_then_the_default_then_the_lowest_id() -> None:
    times = {A: us(10.1), B: us(10.0), C: us(10.2), D: us(20)}
    assert choose(times, D, C, near).winner == C
    assert choose(times, C, None, near).winner == C
    assert choose(times, D, None, near).winner == A
    assert choose(times, D, D, near).winner == A
    assert choose(times, D, None, near).ties == (B, C)


def test_no_tie_lets_a_tactic_win_that_is_slower_than_the_default() -> None:
    times = {A: us(10.4), B: us(10.0), C: us(10.2)}
    choice = choose(times, C, A, near)
    assert choice.winner == C
    assert choice.ties == (B, A)


def test_a_failed_default_does_not_stop_the_others() -> None:
    assert choose({A: us(10)}, D, None, near).winner == A


def test_the_shortlist_holds_the_fastest_what_ties_with_it_and_who_must_be_there() -> None:
    timings = {A: us(10), B: us(10.3), C: us(30), D: us(40)}
    assert shortlist(timings, 1, [D], near) == [A, B, D]
    assert shortlist(timings, 3, [], near) == [A, B, C]
    assert shortlist({A: us(10)}, 3, [D], near) == [A]


def test_the_order_of_confirmation_does_not_matter() -> None:
    times = {A: us(10.0), B: us(10.0), C: us(10.4), D: us(11)}
    choices = {choose(dict(order), D, None, near) for order in permutations(times.items())}
    assert [(c.winner, c.ties) for c in choices] == [(A, (B, C))]


def test_a_tie_is_with_the_best_not_with_what_ties_with_the_best() -> None:
    times = {A: us(10.8), B: us(10.0), C: us(10.4)}
    assert choose(times, A, None, near).winner == B
    assert choose(times, A, None, near).ties == (C,)


def test_an_incumbent_that_is_clearly_slower_is_replaced() -> None:
    assert choose({A: us(12), B: us(10), C: us(20)}, C, A, near).winner == B


def test_a_crowd_of_ties_is_bounded() -> None:
    crowd = {Tactic({"x": i}): us(10) for i in range(100)}
    assert len(shortlist(crowd, 3, [], near)) == 12


def test_an_unverified_tactic_wins_only_where_nothing_could_be_verified() -> None:
    doubtful = Timing(5.0, "prediction", "model", verified="unverified: the interpreter lacks an operation")
    assert shortlist({A: us(10), B: doubtful, C: us(12)}, 1, [], near) == [A]
    assert choose({A: us(10), B: doubtful, C: us(12)}, C, None, near).winner == A
    assert choose({B: doubtful}, A, None, near).winner == B


def test_a_default_that_could_not_be_verified_stays_in_the_race() -> None:
    def unverified(time_us: float) -> Timing:
        return Timing(time_us, "prediction", "model", verified="unverified: no time", lasting=False)

    assert choose({A: us(10), B: unverified(5.0)}, B, None, near).winner == B, "nothing slower than it may win"
    assert choose({A: us(10), B: unverified(12.0)}, B, None, near).winner == A
    assert choose({A: us(10), B: unverified(10.0)}, B, None, near).winner == A, "what is verified wins a tie"
    assert choose({A: us(10.2), B: unverified(10.0)}, B, None, near).winner == B
