"""What says how long a tactic takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeAlias

from tuner.compile.artifact import Code
from tuner.kernel.problem import Problem
from tuner.outcome import Origin, Outcome, Timing
from tuner.search.tactic import Config


class Backend(ABC):
    """Times the tactics of one problem. Closed once, after the last call.

    A backend has to say where its numbers come from (`origin`) and what they are (`evaluate`). The rest is as it
    is for one that gives the same number each time and compiles nothing.

    Attributes:
        steady: whether it gives the same number each time. Then the search is told in the order of asking, so that
            it takes the same course however fast the machine is.
        width: how many tactics may be on the way at a time while the next one depends on what is found. The search
            knows nothing of those when it proposes another, so it is as small as keeps the backend busy. Of a steady
            backend it is a constant, and no property of the machine.
        most: how many may be on the way while what comes next does not depend on it.
    """

    steady: bool = True
    width: int = 1
    most: int = 1

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """Where the numbers come from."""

    @abstractmethod
    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """Yield the position and outcome of each configuration, in order of completion."""

    def begin(self, config: Config) -> Future[Outcome]:
        """Begin to evaluate one tactic; the future can be cancelled for as long as nobody has taken it up."""
        done: Future[Outcome] = Future()
        done.set_result(next(iter(self.evaluate([config])))[1])
        return done

    def foresee(self, config: Config) -> Future[Outcome] | None:
        """Begin to predict a tactic that `begin` would measure; None where there is no prediction."""
        return None

    def prepare(self, configs: Sequence[Config]) -> None:  # noqa: B027
        """Start work that `evaluate` will need (compiling, the reference), without waiting for it."""

    def near(self, a: Timing, b: Timing) -> bool:
        """Whether two tactics may be equally fast, by times that `evaluate` gave."""
        return self.tied(a, b)

    def confirm(self, configs: Sequence[Config]) -> list[Outcome]:
        """Time the finalists against each other, as carefully as the backend can; outcomes in the order given."""
        outcomes = dict(self.evaluate(configs))
        return [outcomes[i] for i in range(len(configs))]

    def tied(self, a: Timing, b: Timing) -> bool:
        """Whether it cannot be told which of two tactics is faster, by times of one call of `confirm`."""
        return a.time_us == b.time_us

    def compiled(self, config: Config) -> Code | None:
        """The code of a tactic that was evaluated; None where there is none."""
        return None

    def close(self) -> None:  # noqa: B027
        """Stop processes and free the device."""


BackendFactory: TypeAlias = Callable[[Problem], Backend]
"""Opens a backend for a problem; whoever calls it closes the backend."""


def as_they_end(begin: Callable[[Config], Future[Outcome]], configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
    """Begin all tactics and yield position and outcome as they end; those not yielded are cancelled at the end."""
    waiting = {begin(config): i for i, config in enumerate(configs)}
    try:
        while waiting:
            for done in sorted(wait(waiting, return_when=FIRST_COMPLETED).done, key=waiting.__getitem__):
                position = waiting.pop(done)
                yield position, done.result()
    finally:
        for future in waiting:
            future.cancel()
