"""Spaces that are too large to count: how many points there are is not known, and legal ones are found all the same."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest
from wide import NAMES, ONES, wide

from tuner.errors import ConfigError
from tuner.search import SAMPLERS, Search
from tuner.search.constraints import Constraint, listed
from tuner.search.counting import WORK
from tuner.search.params import choice, integers
from tuner.search.points import NoneFoundError, Points, drawn
from tuner.search.space import Space
from tuner.search.tactic import Value, canonical


def total(config: dict[str, Value]) -> int:
    return sum(int(config[name]) for name in NAMES)


def run(search: Search, trials: int) -> list[dict[str, Value]]:
    asked: list[dict[str, Value]] = []
    while len(asked) < trials and (configs := search.ask(4)):
        asked += configs
        for config in configs:
            search.tell(config, float(total(config)))
    return asked


def test_a_constraint_on_many_parameters_ends_counting_with_bounded_work() -> None:
    calls = 0

    def holds(value: int) -> bool:
        nonlocal calls
        calls += 1
        return value <= 60

    space = wide(holds)
    assert not space.counted
    assert space.size > 0 and space.size_text == f"more than {space.size}"
    assert calls < WORK / 8, "that counting cannot end is estimated early"
    asked = calls
    assert space.size_text and calls == asked, "it is counted once"


def test_what_needs_all_points_of_such_a_space_says_so() -> None:
    space = wide(lambda value: value <= 60)
    for needs_all in (lambda: iter(space), lambda: len(space), lambda: space.point(0), lambda: space.rank(ONES)):
        with pytest.raises(ConfigError, match=r"the space has more than [0-9]+ legal points, too many to list"):
            needs_all()
    with pytest.raises(ConfigError, match="too many to list"):
        space.sample(random.Random(0), 2)


def test_counting_ends_at_a_deadline() -> None:
    space = Space(tuple(integers(f"p{i}", 0, 9) for i in range(4)), (Constraint("any", lambda p0, p3: True, "never"),))
    assert Space(space.params, space.constraints).count() == (10**4, True)
    assert space.count(deadline=time.monotonic() - 1) == (0, False)
    assert not space.counted, "later calls say the same"


def test_a_space_of_many_values_and_few_legal_points_is_counted() -> None:
    """The legal points are sparse at every level, so the estimate must not take the product for the work."""
    params = tuple(integers(f"p{i}", 0, 9) for i in range(12))
    configs = [{f"p{i}": v for i, v in enumerate((*values, 3, 3, 3, 3))} for values in product((1, 7), repeat=8)]
    space = Space(params, tuple(listed(params, configs, "listed", "not listed")))
    assert (space.size, space.counted) == (len(configs), True)
    assert sorted(map(canonical, space)) == sorted(map(canonical, configs))


def test_parameters_that_no_constraint_looks_at_cost_nothing() -> None:
    space = Space((integers("a", 0, 10**6), choice("b", 1, 2), integers("c", 0, 10**6)))
    assert space.size == (10**6 + 1) ** 2 * 2
    point = space.point(10**12 + 12345)
    assert space.rank(point) == 10**12 + 12345


def test_a_space_that_its_other_constraints_empty_is_known_to_be_empty() -> None:
    space = wide(lambda value: value <= 60)
    never = Constraint("never", lambda BLOCK: BLOCK > 4096, "no block is that large")
    assert Space(space.params, (*space.constraints, never)).count() == (0, True)


def test_points_that_are_drawn_by_trial_are_legal_and_even() -> None:
    """The constraint on the sum refuses half of all points; and every value is as likely as another."""
    space, rng = wide(lambda value: value % 2 == 0), random.Random(0)
    hits = [space.decode(p) for p in (space.hit(rng) for _ in range(4000)) if p is not None]
    assert 1800 < len(hits) < 2200
    assert all(c in space for c in hits)
    for name in ("BLOCK", "u0", "u10"):
        seen = Counter(c[name] for c in hits)
        expected = len(hits) / len(seen)
        assert sum((n - expected) ** 2 / expected for n in seen.values()) < 30


TIGHT: dict[str, tuple[Callable[[int], bool], dict[str, Value]]] = {
    "half": (lambda value: value <= 60, ONES),
    "next to none": (lambda value: value <= 14, ONES),
    "a given sum": (lambda value: value == 20, {**ONES, "u3": 10}),
}


@pytest.mark.parametrize("case", TIGHT)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches_such_a_space(case: str, sampler: str) -> None:
    holds, default = TIGHT[case]
    asked = run(Search(wide(holds), default, sampler=sampler, seed=0, budget=24), 24)
    assert asked[0] == default
    assert len({canonical(c) for c in asked}) == len(asked) == 24
    assert all(holds(total(c)) for c in asked)
    assert len({tuple(c[n] for n in NAMES) for c in asked}) > 6, "not one parameter alone is varied"
    again = Search(wide(holds), default, sampler=sampler, seed=0, budget=24)
    assert run(again, 24) == asked, "the same seed, the same search"
    assert not again.gave_up


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_ends_and_says_why_where_nothing_else_is_legal(sampler: str) -> None:
    search = Search(wide(lambda value: value <= 11), ONES, sampler=sampler, seed=0, budget=24)
    asked = run(search, 24)
    assert len(asked) == 4, "the default with each BLOCK"
    assert search.ask(1) == []
    assert search.gave_up == (
        "no further legal tactic was found: 100 % of all are refused by budget: more than the budget"
    )


def test_a_draw_does_bounded_work() -> None:
    calls = 0

    def holds(value: int) -> bool:
        nonlocal calls
        calls += 1
        return value == 11

    space = wide(holds)
    assert not space.counted
    points, rng = Points(space), random.Random(0)
    points.taken.update(space.encode({**ONES, "BLOCK": block}) for block in (256, 512, 1024, 2048))
    before = calls
    with pytest.raises(NoneFoundError, match="budget"):
        for _ in range(1000):
            points.draw(rng)
    assert calls - before < 20_000


def test_a_constraint_that_raises_is_named_where_it_is_met() -> None:
    def fails(value: int) -> bool:
        return 1 / (value - 11) > 0 or True

    with pytest.raises(ConfigError, match=r"constraint 'budget' failed on .*ZeroDivisionError"):
        _ = wide(fails).size


def test_some_points_are_drawn_beside_a_known_one() -> None:
    for most in (60, 14):
        found = drawn(wide(most.__ge__), ONES, random.Random(0), 15)
        assert len({canonical(c) for c in (ONES, *found)}) == 16
        assert all(total(c) <= most for c in found)
    assert len(drawn(wide(lambda value: value <= 11), ONES, random.Random(0), 15)) == 3
    small = Space((integers("a", 0, 3),))
    assert sorted(int(c["a"]) for c in drawn(small, {"a": 2}, random.Random(0), 15)) == [0, 1, 3]
