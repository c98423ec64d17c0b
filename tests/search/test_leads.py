"""What a prediction says should be tried first."""

from __future__ import annotations

from tuner.search import Search
from tuner.search.leads import PATIENCE
from tuner.search.params import powers_of_two
from tuner.search.space import Space
from tuner.search.study import LEAST
from tuner.search.tactic import Config, Tactic
from tuner.tuning.leads import picked

SPACE = Space((powers_of_two("M", 1, 2**15), powers_of_two("N", 1, 2**15)))
DEFAULT = {"M": 64, "N": 64}


def time_us(config: Config) -> float:
    return 10 + abs(int(config["M"]).bit_length() - 11) + abs(int(config["N"]).bit_length() - 9)


def asked(search: Search, count: int) -> list[Config]:
    found: list[Config] = []
    for _ in range(count):
        (config,) = search.ask(1)
        search.tell(config, time_us(config))
        found.append(config)
    return found


def test_leads_come_right_after_what_is_known() -> None:
    search = Search(SPACE, DEFAULT, seed=0, budget=32, seeds=[{"M": 128, "N": 64}])
    leads = [{"M": 1024, "N": 256}, {"M": 512, "N": 256}]
    assert search.fixed and not search.begun
    first = asked(search, 2)
    search.lead([DEFAULT, *leads])
    assert not search.fixed and search.begun
    assert [*first, *asked(search, 2)] == [DEFAULT, {"M": 128, "N": 64}, *leads]


def test_a_prediction_that_errs_costs_a_few_trials() -> None:
    search = Search(SPACE, DEFAULT, seed=0, budget=32)
    asked(search, 1)
    worst = sorted(SPACE, key=time_us, reverse=True)[:16]
    search.lead(worst)
    found = asked(search, 16)
    assert [c for c in found if c in worst] == worst[:PATIENCE] and found[:PATIENCE] == worst[:PATIENCE]


def test_leads_that_get_better_are_all_tried() -> None:
    search = Search(SPACE, DEFAULT, seed=0, budget=32)
    asked(search, 1)
    better = sorted((c for c in SPACE if time_us(c) < time_us(DEFAULT)), key=time_us, reverse=True)[::7][-12:]
    search.lead(better)
    assert asked(search, len(better)) == better


def test_most_leads_are_the_fastest_and_some_unlike_them() -> None:
    times = {Tactic({"A": a, "B": b}): 10.0 + a + 0.1 * b for a in range(8) for b in range(8)}
    found = [Tactic(c) for c in picked(times, 6)]
    assert found[:2] == sorted(times, key=lambda t: times[t])[:2]
    assert found[2].config["A"] != found[0].config["A"] and found[2].config["B"] != found[0].config["B"]
    assert len(set(found)) == 6 and picked(times, 0) == []


def test_a_search_is_satisfied_where_nothing_is_left_and_not_before() -> None:
    search = Search(SPACE, DEFAULT, seed=0, budget=256, exhaust=False)
    best, trials = float("inf"), 0
    while not search.satisfied:
        best, trials = min(best, *map(time_us, asked(search, 1))), trials + 1
    assert LEAST <= trials < 128 and best == 10


def test_a_sampler_that_does_not_say_is_never_satisfied() -> None:
    search = Search(SPACE, DEFAULT, sampler="random", seed=0, budget=64, exhaust=False)
    asked(search, 64)
    assert not search.satisfied
