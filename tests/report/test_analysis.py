"""What trials say about the search and the parameters, against what can be worked out by hand."""

from __future__ import annotations

import itertools
from math import inf

import numpy as np
import pandas as pd
import pytest
from recorded import made_up

from tuner.outcome import Timing
from tuner.report.analysis import best_so_far, failure_groups, importances, random_order, trials_until
from tuner.report.jobs import Trials


def trials_of(*times_us: float, **columns: list[object]) -> Trials:
    """Trials with these times (NaN: failed) in this order."""
    count = len(times_us)
    usual = {"number": range(count), "status": ["ok"] * count, "message": [""] * count, "time_us": times_us}
    params = tuple(n for n in columns if n not in usual)
    return Trials(params, pd.DataFrame({**usual, **columns}))


def made_up_trials(count: int) -> Trials:
    rows = [
        {**t.tactic.config, "time_us": t.outcome.time_us if isinstance(t.outcome, Timing) else float("nan")}
        for t in made_up(count)
    ]
    return Trials(tuple(made_up(1)[0].tactic.config), pd.DataFrame(rows).assign(status="ok", message=""))


def test_best_so_far_keeps_where_it_changed_and_the_end() -> None:
    course = best_so_far(trials_of(float("nan"), 5.0, 7.0, 3.0, 4.0, 3.5))
    assert list(zip(course["trials"], course["best_us"], strict=True)) == [(2, 5.0), (4, 3.0), (6, 3.0)]


@pytest.mark.parametrize("times", [(5.0, 1.0, 3.0, 4.0, 2.0), (5.0, float("nan"), 3.0, float("nan"), 3.0)])
def test_random_order_is_what_all_orders_give(times: tuple[float, ...]) -> None:
    found = random_order(trials_of(*times)).set_index("trials")
    known = [inf if np.isnan(t) else t for t in times]
    for n in range(1, len(times) + 1):
        best = sorted(min(order[:n]) for order in itertools.permutations(known))
        for column, share in (("low_us", 0.1), ("median_us", 0.5), ("high_us", 0.9)):
            expected = next(b for i, b in enumerate(best, start=1) if i >= share * len(best) - 1e-9)
            value = float(found[column].fillna(inf)[n])
            assert value == expected, (n, column)


def test_a_long_study_has_a_course_of_bounded_length() -> None:
    found = random_order(trials_of(*np.linspace(10, 20, 10_000)))
    assert len(found) < 300 and int(found["trials"].iloc[-1]) == 10_000
    assert found["median_us"].is_monotonic_decreasing and found["median_us"].iloc[-1] == 10


def test_trials_until_a_limit_is_reached() -> None:
    course = best_so_far(trials_of(9.0, 8.0, 5.0))
    assert trials_until(course, "best_us", 8.0) == 2
    assert trials_until(course, "best_us", 4.0) is None


def test_the_parameters_that_decide_are_the_most_important() -> None:
    found = importances(made_up_trials(1000))
    assert list(found)[:2] == ["BLOCK_K", "num_warps"]
    assert sum(found.values()) == pytest.approx(1)
    assert max(found[name] for name in ("BLOCK_M", "BLOCK_N", "GROUP_M", "num_stages")) < found["num_warps"] / 2


def test_importances_need_trials_and_variety() -> None:
    assert importances(trials_of(1.0, 2.0, A=[1, 2])) == {}
    assert importances(trials_of(*range(1, 21), A=[1] * 20)) == {}
    assert importances(trials_of(*[3.0] * 20, A=[*range(20)])) == {}


def test_failures_are_grouped_by_class_and_first_line_with_what_they_share() -> None:
    nan = float("nan")
    trials = trials_of(
        *(nan, nan, 1.0, nan, nan),
        status=["compile", "compile", "ok", "runtime", "compile"],
        message=["too big\nat line 1", "too big\nat line 2", "", "too big", "other"],
        A=[1, 1, 2, 1, 1],
        B=[1, 2, 3, 4, 5],
    )
    first, *rest = failure_groups(trials)
    assert (first.kind, first.count, first.message, first.shared) == ("compile", 2, "too big\nat line 1", {"A": 1})
    assert [(g.kind, g.count, g.shared) for g in rest] == [("runtime", 1, {}), ("compile", 1, {})]
