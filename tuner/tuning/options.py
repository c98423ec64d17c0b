"""How hard a problem is searched."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from tuner.compile.options import Count, Seconds
from tuner.search.samplers import DEFAULT_SAMPLER


class SearchOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How a problem is searched.

    Attributes:
        trials: the most trials per problem.
        stop: whether a search ends before, when its sampler expects next to nothing of going on.
        shared_trials: budget of each further problem with the same data types and attributes, which starts from
            what was found for the ones before it; None: a quarter of `trials`, and at least 8.
        timeout_s: stop asking for new trials of a problem this many seconds after its turn came; None: never.
        sampler: who proposes what to try.
        seed: of everything random.
        finalists: how many of the fastest are confirmed.
    """

    trials: Count = 64
    stop: bool = True
    shared_trials: Count | None = None
    timeout_s: Seconds | None = None
    sampler: str = DEFAULT_SAMPLER
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    finalists: Count = 5

    @property
    def further_trials(self) -> int:
        """Budget of a problem that starts from what was found for others."""
        return min(self.trials, self.shared_trials or max(8, -(-self.trials // 4)))
