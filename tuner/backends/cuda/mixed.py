"""A tactic at several sizes, timed as one: what a launch takes is the weighted mean over the sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

from tuner.backends.cuda.cases import Case
from tuner.backends.cuda.station import Runner


class Mixed:
    """The `Timeable` of a tactic whose time is a mean over several sizes.

    Every sample holds launches at every size, so that a clock that drifts changes all parts alike.

    Attributes:
        step: launches at the size that needs the fewest to go through all sets of its tensors.
        facts: numbers about making the tactic ready.
    """

    def __init__(self, parts: Sequence[tuple[Runner, float]]) -> None:
        """Take over runners of one tactic, each with the share of its size; the shares add up to 1."""
        self._parts = parts
        self.step = min(runner.step for runner, _ in parts)
        self.facts = dict(parts[0][0].facts)

    def check(self, case: Case) -> str | None:
        """Launch at one size and judge what comes out; None when it is right."""
        return self._parts[0][0].check(case)

    def run(self, launches: int) -> float:
        mean_us = 0.0
        for runner, share in self._parts:
            count = runner.step * math.ceil(launches / runner.step)
            mean_us += share * runner.run(count) / count
        return mean_us * launches

    def close(self) -> None:
        """Unload the tactic."""
        with ExitStack() as stack:
            for runner, _ in self._parts:
                stack.callback(runner.close)
