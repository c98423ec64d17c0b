"""What the plugin offers while engines are built one after another, each with tactics of its own."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.compile.artifact import Artifact
from tuner.errors import ConfigError
from tuner.kernel.problem import WHICH, Problem
from tuner.search.tactic import Config, Tactic


class CurrentOffer:
    """Offers the tactics of the engine that is being built. Their code is made elsewhere."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._offered: list[Tactic] = []
        self._artifacts: dict[Tactic, Artifact] = {}

    def change(self, offered: Iterable[Config], artifacts: Iterable[tuple[Config, Artifact]]) -> None:
        """Offer these configurations from now on."""
        self._offered = [Tactic(c) for c in offered]
        self._artifacts = {Tactic(c): a for c, a in artifacts}

    def tactics(self, problem: Problem, pinned: Config) -> list[Tactic]:
        """The current tactics.

        Raises:
            ConfigError: for another problem than the one that is tuned.
        """
        self._require_same(problem)
        return self._offered

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """The code of an offered tactic, or of the default.

        Raises:
            ConfigError: for another problem or tactic.
        """
        self._require_same(problem)
        if tactic not in self._artifacts:
            raise ConfigError(f"TensorRT asks for ({tactic}), which is not offered")
        return self._artifacts[tactic]

    def _require_same(self, problem: Problem) -> None:
        """Code is compiled for a problem: what divides a size is built into it."""
        mine = self._problem
        same = all(problem.sizes(w) == mine.sizes(w) for w in WHICH)
        if not same or (problem.dtypes, problem.attributes) != (mine.dtypes, mine.attributes):
            raise ConfigError(
                f"the network calls {problem}, and {mine.label} is tuned; make the dims, dtypes and attributes of the "
                "two agree"
            )
