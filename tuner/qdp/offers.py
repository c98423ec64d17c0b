"""Which tactics a plugin offers for a problem."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TypeAlias

from tuner.compile.artifact import Artifact
from tuner.compile.compiler import Compiles
from tuner.compile.pipeline import tools_of
from tuner.errors import ConfigError
from tuner.gpu.target import Target
from tuner.kernel.identity import kernel_hash
from tuner.kernel.problem import Problem
from tuner.kernel.problem_data import data_of
from tuner.outcome import Failure, TacticError, caution
from tuner.search.points import LOOKED
from tuner.search.space import Space
from tuner.search.tactic import Config, Tactic, by_id, canonical
from tuner.store.cache import LOOKUP_ORDER, Cache, Hit, lookup
from tuner.store.entry import differences

_log = logging.getLogger("tuner.qdp")

MOST = 10_000
"""How many tactics may be offered: TensorRT compiles and times each of them."""

_TRIED = 32
"""How many tactics of a space are looked at for one that compiles."""

Choose: TypeAlias = Callable[[Problem, Config], Sequence[Tactic]]
"""Returns the tactics to offer for a problem in which some parameters are pinned to a value."""


def pinned_space(problem: Problem, pinned: Config) -> Space:
    """The legal tactics of a problem that have the pinned values.

    Raises:
        ConfigError: for a value that its parameter does not have.
    """
    params = []
    for param in problem.space.params:
        if param.name in pinned:
            value = param.values[param.index(pinned[param.name])]
            param = replace(param, values=(value,))
        params.append(param)
    return replace(problem.space, params=tuple(params))


def default_tactic(problem: Problem, pinned: Config) -> Tactic:
    """The kernel's default with the pinned values; where that is not legal, the first legal tactic that is found.

    Raises:
        ConfigError: when none is.
    """
    space = pinned_space(problem, pinned)
    config = {**problem.kernel.default, **pinned}
    if config in space:
        return Tactic(config)
    if space.size and space.counted:
        return Tactic(space.point(0))
    rng = random.Random(0)
    found = next((p for p in (space.hit(rng) for _ in range(LOOKED)) if p is not None), None)
    if found is None:
        fixed = f" with {Tactic(pinned)}" if pinned else ""
        raise ConfigError(f"{problem}: no tactic is legal{fixed}: {space.most_refused()}")
    return Tactic(space.decode(found))


def legal(problem: Problem, pinned: Config) -> list[Tactic]:
    """Every legal tactic.

    Raises:
        ConfigError: when there are more than anybody could compile and time, or none.
    """
    space = pinned_space(problem, pinned)
    if not space.counted or space.size > MOST:
        raise ConfigError(
            f"{problem} has {space.size_text} legal tactics, and a builder can be offered {MOST} at most; "
            "choose some of them"
        )
    return [Tactic(c) for c in space] or [default_tactic(problem, pinned)]


def given(tactics: Sequence[Tactic]) -> Choose:
    """Those of the given tactics that are legal; the default where none is."""

    def choose(problem: Problem, pinned: Config) -> list[Tactic]:
        space = pinned_space(problem, pinned)
        return [t for t in tactics if t.config in space] or [default_tactic(problem, pinned)]

    return choose


class FromCache:
    """What a tactic cache holds for a problem, or else the default: the winner, or between shapes the portfolio.

    Every lookup is reported once to the logger "tuner.qdp": as information which entry matched and how
    well, as a warning when none did, or when it is not verified or was recorded with other compilers.
    """

    def __init__(self, cache: Cache, device: str, capability: tuple[int, int]) -> None:
        self._cache, self._device, self._capability = cache, device, capability
        self._reported: set[str] = set()

    def __call__(self, problem: Problem, pinned: Config) -> list[Tactic]:
        space, hit = pinned_space(problem, pinned), self.lookup(problem)
        served = [t for t in hit.tactics if t.config in space]
        if hit.tier != "default" and served:
            remarks = self._remarks(problem, hit)
            what = f"{problem}: serving {', '.join(f'({t})' for t in served)}; {hit}"
            self._report(logging.WARNING if remarks else logging.INFO, "; ".join([what, *remarks]))
            return served
        default = default_tactic(problem, pinned)
        why = f"the cached ({hit.tactic}) has not the pinned values" if hit.tier != "default" else str(hit)
        self._report(logging.WARNING, f"{problem}: serving the default ({default}), which is not tuned; {why}")
        return [default]

    def _remarks(self, problem: Problem, hit: Hit) -> list[str]:
        """What whoever is served an entry should know of it."""
        assert hit.entry is not None
        today = tools_of(problem, hit.tactic.config, Target(self._capability))
        said = (differences(hit.entry, today, datetime.now(UTC)), caution(hit.entry.verified))
        return [remark for remark in said if remark]

    def lookup(self, problem: Problem) -> Hit:
        """What the cache says, by the first backend of `LOOKUP_ORDER` that it has times of."""
        return lookup(self._cache, problem, kernel_hash(problem.kernel), LOOKUP_ORDER, self._device, self._capability)

    def _report(self, level: int, message: str) -> None:
        if message not in self._reported:  # TensorRT asks again and again
            self._reported.add(message)
            _log.log(level, message)


class CompilingOffer:
    """The chosen tactics that compile. One that does not would end the whole engine build if it were offered."""

    def __init__(self, choose: Choose, compiler: Compiles) -> None:
        self._choose, self._compiler = choose, compiler
        self._reported: set[str] = set()
        self._offered: dict[tuple[tuple[str, ...], str], list[Tactic]] = {}

    def tactics(self, problem: Problem, pinned: Config) -> list[Tactic]:
        """The tactics to offer, compiled; where none of the chosen ones compiles, the first of the space that does."""
        # Asked once for each tactic that is launched: choosing anew would take the square of their number.
        key = data_of(problem).key, canonical(pinned)
        if key not in self._offered:
            self._offered[key] = self._compiling(problem, pinned)
        return self._offered[key]

    def _compiling(self, problem: Problem, pinned: Config) -> list[Tactic]:
        chosen = self._choose(problem, pinned)
        outcomes = [(t, self._compiler.submit(problem, t.config)) for t in by_id(chosen).values()]
        good = []
        for tactic, outcome in outcomes:
            result = outcome.result()
            if isinstance(result, Failure):
                self._report(f"{problem}: leaving out ({tactic}): {result.headline}")
            else:
                good.append(tactic)
        return good or [self._first(problem, pinned, tried=[t for t, _ in outcomes])]

    def _first(self, problem: Problem, pinned: Config, tried: Sequence[Tactic]) -> Tactic:
        """The first tactic of the space that compiles, of some; the default where none does, which then says why.

        The first config of an autotuner is often for a larger GPU than the one at hand.
        """
        default = default_tactic(problem, pinned)
        others = islice((Tactic(c) for c in pinned_space(problem, pinned)), _TRIED)
        for tactic in (default, *others):
            if tactic not in tried and not isinstance(self._compiler.submit(problem, tactic.config).result(), Failure):
                self._report(f"{problem}: serving ({tactic}), the first that compiles, which is not tuned")
                return tactic
        return default

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """What a tactic compiles to.

        Raises:
            TacticError: when it does not.
        """
        return compiled(self._compiler, problem, tactic)

    def _report(self, message: str) -> None:
        if message not in self._reported:  # TensorRT asks again and again
            self._reported.add(message)
            _log.warning(message)


class CompilingChain:
    """The first chosen tactic of an operator of several launches all of which compile."""

    def __init__(self, choose: Choose, compiler: Compiles) -> None:
        self._choose, self._compiler = choose, compiler

    def tactic(self, problem: Problem, pinned: Config) -> Tactic:
        """The tactic of the whole; the default where none of the chosen ones compiles, with a warning."""
        for tactic in by_id(self._choose(problem, pinned)).values():
            steps = problem.steps(tactic.config)
            outcomes = [self._compiler.submit(step.problem, step.config) for step in steps]
            failures = [r for r in (outcome.result() for outcome in outcomes) if isinstance(r, Failure)]
            if not failures:
                return tactic
            _log.warning(f"{problem}: leaving out ({tactic}): {failures[0].headline}")
        return default_tactic(problem, pinned)

    def artifact(self, problem: Problem, tactic: Tactic) -> Artifact:
        """What one launch compiles to.

        Raises:
            TacticError: when it does not.
        """
        return compiled(self._compiler, problem, tactic)


def compiled(compiler: Compiles, problem: Problem, tactic: Tactic) -> Artifact:
    """What a tactic of an ordinary kernel compiles to.

    Raises:
        TacticError: when it does not.
    """
    result = compiler.submit(problem, tactic.config).result()
    if isinstance(result, Failure):
        raise TacticError(result.kind, f"{problem}: ({tactic}) does not compile: {result.message}")
    return result
