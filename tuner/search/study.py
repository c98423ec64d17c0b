"""The search loop: an Optuna study in memory, asked and told, that never repeats itself.

Samplers see a configuration as the index of each parameter's value. What they propose is mended here
where needed: a point that is illegal or was proposed before is replaced by one close to it, so a
caller only ever sees new, legal configurations.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tuner.errors import ConfigError
from tuner.search.leads import Leads
from tuner.search.points import Elsewhere, NoneFoundError, Point, Points
from tuner.search.samplers import DEFAULT_SAMPLER, GivenSampler, find
from tuner.search.space import Space
from tuner.search.tactic import Config, Value, canonical

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


GAIN = 5e-4
"""A proposal of which the sampler expects less gain than this part of the best time is quiet …"""
QUIET = 6
"""… after so many quiet ones in a row there is next to nothing left …"""
LEAST = 16
"""… but not before so many tactics were tried. Calibrated on recorded tables, see results/search."""


class Search:
    """Proposes configurations and learns from their times.

    The default comes first, then the seeds, then what the sampler finds promising. A space no larger
    than the budget is enumerated instead, shuffled so that a run cut short has seen all parts of it.
    What is asked depends only on the arguments below and on the
    sequence of asks and tells, so a run that was cut short can be played again from its record. Where
    the space is too large to count, the search ends when next to no point is legal and none is left near
    those that were tried.

    Example:
        >>> from tuner.search.space import Space
        >>> from tuner.search.params import powers_of_two
        >>> search = Search(Space((powers_of_two("BLOCK", 64, 1024),)), {"BLOCK": 256}, seed=0, budget=3)
        >>> search.ask(1)
        [{'BLOCK': 256}]
        >>> search.tell({"BLOCK": 256}, 12.5)

    Args:
        space: what to search; constraints are never violated.
        default: the first configuration to try.
        sampler: a name in `samplers.SAMPLERS`, or an object.
        seed: of everything random.
        budget: how many configurations the caller means to try.
        seeds: configurations to try right after the default, best first. One that the space does not
            hold (any more) is left out.
        elsewhere: what was found for the same kernel at other shapes; samplers may learn from it.
        exhaust: whether a space no larger than the budget is enumerated; else the sampler says in which order.
        deadline: when to stop counting the space, and to propose one configuration at a time, on the clock of
            `time.monotonic`.

    Attributes:
        gave_up: why no more are proposed although there may be more, or "".

    Raises:
        ConfigError: for an unknown sampler, a default outside the space, or a space with no legal point.
    """

    def __init__(
        self,
        space: Space,
        default: Config,
        *,
        sampler: str | GivenSampler = DEFAULT_SAMPLER,
        seed: int,
        budget: int,
        seeds: Iterable[Config] = (),
        elsewhere: Sequence[Elsewhere] = (),
        exhaust: bool = True,
        deadline: float = math.inf,
    ) -> None:
        chosen = sampler if isinstance(sampler, GivenSampler) else find(sampler)
        size, counted = space.count(deadline)
        if counted and size == 0:
            raise ConfigError("the space has no legal point; relax a constraint")
        violated = space.violated(default)
        if violated:
            raise ConfigError(f"the default ({canonical(default)}) is outside the space: {violated}")
        self._points = Points(space, sorted(elsewhere, key=lambda e: math.hypot(*e.offset)))
        self._rng = random.Random(seed)
        self._deadline = deadline
        self._running: dict[str, optuna.trial.Trial | None] = {}
        self.gave_up = ""
        self._known = deque(map(space.encode, (default, *(c for c in seeds if c in space))))
        self._leads = Leads()
        self._quiet = 0
        self._everything: deque[Point] = deque()
        self._sampler: BaseSampler | None = None
        self._study: optuna.Study | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        if counted and size <= budget and exhaust:
            everything = list(map(space.encode, space))
            self._rng.shuffle(everything)
            self._everything.extend(everything)
        else:
            from tuner.search.base import distributions

            self._sampler = chosen.make(self._points, seed)
            self._study = _new_study(self._sampler)
            self._distributions = distributions(space, chosen.ordered)

    def lead(self, configs: Iterable[Config]) -> None:
        """Have configurations tried before what the sampler proposes, the most promising first.

        They come from somebody who does not know: when some in a row are no better than what was found before,
        the others are left out.
        """
        self._leads.follow(map(self._points.space.encode, configs))

    @property
    def begun(self) -> bool:
        """Whether the default and the seeds have been asked for."""
        return not self._known

    @property
    def fixed(self) -> bool:
        """Whether what is asked next is known, whatever is told until then."""
        return bool(self._known) or (not self._leads and bool(self._everything))

    @property
    def satisfied(self) -> bool:
        """Whether the sampler expects next to nothing of going on, as far as it can tell; see `GAIN`."""
        return len(self._points.taken) >= LEAST and self._quiet >= QUIET

    def ask(self, count: int) -> list[dict[str, Value]]:
        """Propose up to `count` configurations to evaluate side by side; [] once there are no more."""
        asked: list[dict[str, Value]] = []
        while len(asked) < count and self._points.left and not self.gave_up:
            if asked and time.monotonic() > self._deadline:
                break
            try:
                asked.append(self._ask_one())
            except NoneFoundError as e:
                self.gave_up = f"no further legal tactic was found: {e}"
        return asked

    def tell(self, config: Config, time_us: float | None) -> None:
        """Learn the time of a configuration that was asked for.

        Args:
            config: as returned by `ask`, not told before.
            time_us: microseconds; None (or a number that is not finite) when it failed.

        Raises:
            ValueError: when that configuration is not waiting for its time.
        """
        try:
            trial = self._running.pop(canonical(config))
        except KeyError:
            raise ValueError(f"({canonical(config)}) was not asked for, or was told before") from None
        self._leads.told(self._points.space.encode(config), time_us)
        if self._study is None or trial is None:
            return
        import optuna

        if time_us is None or not math.isfinite(time_us):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, time_us)

    def _ask_one(self) -> dict[str, Value]:
        point = self._next_known()
        trial: optuna.trial.Trial | None = None
        if self._study is not None:
            if point is not None:
                trial, point = self._trial_at(self._study, point)
            else:
                trial, point = self._sampled_trial(self._study)
                promise = getattr(self._sampler, "promise", None)
                self._quiet = self._quiet + 1 if promise is not None and promise < GAIN else 0
        assert point is not None
        self._points.taken.add(point)
        config = self._points.config(point)
        self._running[canonical(config)] = trial
        return config

    def _next_known(self) -> Point | None:
        """The first point that is to be tried whatever the sampler thinks of it, and was not."""
        for source in (self._known, self._leads.points, self._everything):
            while source:
                point = source.popleft()
                if point not in self._points.taken:
                    return point
        return None

    def _sampled_trial(self, study: optuna.Study) -> tuple[optuna.trial.Trial, Point]:
        import optuna

        trial, proposed = self._suggestion(study)
        if self._points.open(proposed):
            return trial, proposed
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return self._trial_at(study, self._points.nearest(proposed, self._rng))

    def _trial_at(self, study: optuna.Study, point: Point) -> tuple[optuna.trial.Trial, Point]:
        study.enqueue_trial(dict(zip(self._points.space.names, point, strict=True)))
        return self._suggestion(study)

    def _suggestion(self, study: optuna.Study) -> tuple[optuna.trial.Trial, Point]:
        """A trial, asked for those parameters that apply only, so that a sampler learns nothing of the others."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        trial, point = study.ask(), list[int]()
        for position, (name, distribution) in enumerate(self._distributions.items()):
            if not self._points.space.applies(position, point):
                point.append(0)
            elif isinstance(distribution, IntDistribution):
                point.append(trial.suggest_int(name, distribution.low, distribution.high))
            elif isinstance(distribution, CategoricalDistribution):
                point.append(trial.suggest_categorical(name, range(len(distribution.choices))))
        return trial, tuple(point)


def _new_study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, direction="minimize")
