"""What says how long a tactic takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
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
        batch: how many tactics to ask the search for at a time. A property of the backend, not of the
            machine, so that a search takes the same course on any number of cores.
        ahead: whether to ask for the next batch while one is being timed, so that it compiles meanwhile.
    """

    batch: int = 1
    ahead: bool = False

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """Where the numbers come from."""

    @abstractmethod
    def evaluate(self, configs: Sequence[Config]) -> Iterator[tuple[int, Outcome]]:
        """Yield the position and outcome of each configuration, in order of completion."""

    def prepare(self, configs: Sequence[Config]) -> None:  # noqa: B027
        """Start work that `evaluate` will need (compiling), without waiting for it."""

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
