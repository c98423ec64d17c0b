"""What the plugin offers while engines are built one after another, each with tactics of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from tuner.compile.artifact import Artifact, Code
from tuner.errors import ConfigError
from tuner.kernel.problem import WHICH, Problem
from tuner.search.tactic import Config, Tactic

_Key: TypeAlias = tuple[str, Tactic, tuple[tuple[str, Any], ...]]


def _key(problem: Problem, tactic: Tactic) -> _Key:
    """A launch and its tactic. Launches of one kernel also differ in parameters that are its attributes."""
    return problem.kernel.id, tactic, tuple(problem.attributes.items())


class CurrentOffer:
    """Offers the tactics of the engine that is being built. Their code is made elsewhere."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._offered: list[Tactic] = []
        self._artifacts: dict[_Key, Artifact] = {}

    def change(self, offered: Iterable[Config], codes: Iterable[tuple[Config, Code]]) -> None:
        """Offer these configurations from now on."""
        self._offered = [Tactic(c) for c in offered]
        self._artifacts = {
            _key(step.problem, Tactic(step.config)): artifact
            for config, code in codes
            for step, artifact in zip(self._problem.steps(config), code.steps, strict=True)
        }

    def tactics(self, problem: Problem, pinned: Config) -> list[Tactic]:
        """The current tactics.

        Raises:
            ConfigError: for another problem than the one that is tuned.
        """
        self._require_same(problem)
        return self._offered

    def tactic(self, problem: Problem, pinned: Config) -> Tactic:
        """The only current tactic, of an operator of several launches.

        Raises:
            ConfigError: for another problem than the one that is tuned.
        """
        self._require_same(problem)
        (tactic,) = self._offered
        return tactic

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """The code of an offered tactic, or of the default; of an operator of several launches, that of one of them.

        Raises:
            ConfigError: for another problem or tactic.
        """
        if not self._problem.kernel.parts:
            self._require_same(problem)
        if _key(problem, tactic) not in self._artifacts:
            raise ConfigError(f"TensorRT asks for ({tactic}), which is not offered")
        return self._artifacts[_key(problem, tactic)]

    def _require_same(self, problem: Problem) -> None:
        """Code is compiled for a problem: what divides a size is built into it."""
        mine = self._problem
        same = all(problem.sizes(w) == mine.sizes(w) for w in WHICH)
        if not same or (problem.dtypes, problem.attributes) != (mine.dtypes, mine.attributes):
            raise ConfigError(
                f"the network calls {problem}, and {mine.label} is tuned; make the dims, dtypes and attributes of the "
                "two agree"
            )
