"""What a prediction would try first: the sampler's own search, on the model in the place of a GPU.

Ranking a random pool by predictions is weak where a space is large. So the same sampler searches the model, while the
GPU measures the default, for as long as that takes and a little more; what it compiles is what the GPU is to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait

from tuner.backends.base import Backend
from tuner.kernel.problem import Problem
from tuner.outcome import Outcome, Timing
from tuner.search import Search
from tuner.search.tactic import Config, Tactic
from tuner.tuning.course import Leads

MOST = 64
"""Tactics that are compiled and predicted at most."""
PICKED = 16
"""How many of them lead a search at most; see results/search for what they are worth."""
LONGER_S = 1.0
"""How much longer than the first measurements the predictions may take."""
SPREAD = 3
"""One in so many leads is taken from elsewhere in the space: what the model errs about is often alike."""


def foreseen(problem: Problem, backend: Backend, seed: int, trials: int) -> Leads:
    """A function that searches the model for what promises most; see `Course`.

    Args:
        problem: what is tuned.
        backend: predicts, or says that it does not.
        seed: of everything random.
        trials: the budget of the search on the GPU, of which a quarter may be led.
    """

    def find(ended: Callable[[], bool]) -> list[Config]:
        search = Search(problem.space, problem.kernel.default, seed=seed, budget=MOST)
        waiting: dict[Future[Outcome], Config] = {}
        times: dict[Tactic, float] = {}
        until, asked = float("inf"), 0
        while time.monotonic() < until:
            while len(waiting) < backend.most and asked < MOST and (configs := search.ask(1)):
                future = backend.foresee(configs[0])
                if future is None:
                    return []
                waiting[future], asked = configs[0], asked + 1
            if not waiting:
                break
            for done in wait(waiting, timeout=0.05, return_when=FIRST_COMPLETED).done:
                config, outcome = waiting.pop(done), None if done.exception() else done.result()
                time_us = outcome.time_us if isinstance(outcome, Timing) else None
                search.tell(config, time_us)
                if time_us is not None:
                    times[Tactic(config)] = time_us
            if until == float("inf") and ended():
                until = time.monotonic() + LONGER_S
        return picked(times, min(PICKED, max(1, trials // 4)))

    return find


def picked(times_us: Mapping[Tactic, float], count: int) -> list[Config]:
    """The fastest tactics by some predictions, some of them unlike those before.

    Args:
        times_us: predicted times.
        count: how many to return at most, the most promising first.
    """
    left = sorted(times_us, key=lambda t: (times_us[t], t.id))
    taken: list[Tactic] = []
    while left and len(taken) < count:
        best = left[0]
        if len(taken) % SPREAD == SPREAD - 1:
            best = next((t for t in left[: 4 * count] if all(_unlike(t, other) for other in taken)), best)
        left.remove(best)
        taken.append(best)
    return [tactic.config for tactic in taken]


def _unlike(a: Tactic, b: Tactic) -> bool:
    """Whether two tactics differ in more than one parameter."""
    return sum(a.config.get(name) != b.config.get(name) for name in {*a.config, *b.config}) > 1
